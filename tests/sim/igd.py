"""The UPnP pages of a home router: where it is found, its description, and the actions of its WAN connection."""

from __future__ import annotations

from math import inf

from appliance.proto.http1.head import encode_response, parse_request_head
from appliance.proto.portmap.markup import parse_markup
from appliance.types.addresses import AddrPort
from tests.sim.nat import Nat

PORT = 5000
CONNECTION = "urn:schemas-upnp-org:service:WANIPConnection:1"
_DEVICE = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
_XML = "text/xml"
CONFLICT, NO_SUCH_ENTRY, NO_SUCH_ACTION = 718, 714, 401


class IgdPages:
    """Mappings are those of the NAT; one that somebody else has is refused, as such routers do."""

    def __init__(self, nat: Nat) -> None:
        self._nat = nat

    def search_answer(self, ip: str) -> bytes:
        lines = (
            "HTTP/1.1 200 OK",
            f"USN: uuid:5::{_DEVICE}",
            f"ST: {_DEVICE}",
            f"LOCATION: http://{ip}:{PORT}/igd.xml",
        )
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def answer(self, port: int, data: bytes, client: str) -> bytes | None:
        parsed = parse_request_head(data)
        if port != PORT or parsed is None:
            return None
        head, size = parsed
        if head.method == "GET":
            service = f"<serviceType>{CONNECTION}</serviceType><controlURL>/control</controlURL>"
            return _page(f"<root><device><service>{service}</service></device></root>")
        action = (head.header("soapaction") or "").strip('"').rpartition("#")[2]
        arguments = {element.name: element.text for element in parse_markup(data[size:]).walk()}
        return self._act(action, arguments, client)

    def _act(self, action: str, arguments: dict[str, str], client: str) -> bytes:
        match action:
            case "GetExternalIPAddress":
                return _done(action, NewExternalIPAddress=self._nat.external_ip)
            case "GetStatusInfo":
                return _done(action, NewConnectionStatus="Connected")
            case "AddPortMapping":
                return self._add(arguments, client)
            case "DeletePortMapping":
                ended = self._nat.end_lease(int(arguments["NewExternalPort"]))
                return _done(action) if ended else _fault(NO_SUCH_ENTRY)
        return _fault(NO_SUCH_ACTION)

    def _add(self, arguments: dict[str, str], client: str) -> bytes:
        inside = AddrPort(client, int(arguments["NewInternalPort"]))
        seconds = float(arguments["NewLeaseDuration"]) or inf
        if self._nat.lease_exactly(int(arguments["NewExternalPort"]), inside, seconds):
            return _done("AddPortMapping")
        return _fault(CONFLICT)


def _page(text: str, status: int = 200) -> bytes:
    return encode_response(status, text.encode(), _XML, ("Connection", "close"))


def _envelope(inner: str, status: int = 200) -> bytes:
    return _page(f'<s:Envelope xmlns:s="urn:s"><s:Body>{inner}</s:Body></s:Envelope>', status)


def _done(action: str, **values: str) -> bytes:
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in values.items())
    return _envelope(f'<u:{action}Response xmlns:u="{CONNECTION}">{inner}</u:{action}Response>')


def _fault(code: int) -> bytes:
    detail = f"<detail><UPnPError><errorCode>{code}</errorCode></UPnPError></detail>"
    return _envelope(f"<s:Fault><faultcode>s:Client</faultcode>{detail}</s:Fault>", 500)
