"""UPnP Internet gateway devices: their description and the SOAP actions of a WAN connection (derp spec 10.7).

Only ports and paths are taken from what a router says, never a host: requests go to the router's own address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from urllib.parse import urljoin, urlsplit
from xml.sax.saxutils import escape  # escaping only, nothing is parsed with it

from appliance.proto.portmap.markup import Element, parse_markup
from appliance.proto.portmap.web import encode_request
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError, DecodeReason

MAX_SERVICES = 8
IP_V2 = "urn:schemas-upnp-org:service:WANIPConnection:2"
SERVICE_TYPES = (
    IP_V2,
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
    "urn:dslforum-org:service:WANPPPConnection:1",
    "urn:dslforum-org:service:WANIPConnection:1",
)
ONLY_PERMANENT_LEASES = 725
INVALID_ARGUMENTS = 402
CONFLICT = 718

_MAX_URL = 1024


@dataclass(frozen=True, slots=True)
class Place:
    """Where on the router: TCP port, and path with query."""

    port: int
    path: str


@dataclass(frozen=True, slots=True)
class Service:
    """A WAN connection that can be controlled; `type` is one of `SERVICE_TYPES`."""

    type: str
    control: Place


@dataclass(frozen=True, slots=True)
class ActionReply:
    """`values` by argument name; `error` is the UPnP error code of a fault, None when the action was done."""

    values: Mapping[str, str]
    error: int | None = None


def parse_location(text: str) -> Place:
    """Place of an absolute `http` URL whose host is an IPv4 literal. Raises `DecodeError`."""
    if len(text) > _MAX_URL:
        raise DecodeError(DecodeReason.TOO_LONG, "URL")
    try:
        parts = urlsplit(text)
        port = parts.port or 80
        IPv4Address(parts.hostname or "")
    except ValueError:
        raise DecodeError(DecodeReason.BAD_VALUE, "URL") from None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme != "http" or parts.username is not None or not path.startswith("/"):
        raise DecodeError(DecodeReason.BAD_VALUE, "URL")
    if not all("!" <= char <= "~" for char in path):
        raise DecodeError(DecodeReason.BAD_TEXT, "URL")
    return Place(port, path)


def parse_description(body: bytes, location: str) -> tuple[Service, ...]:
    """The WAN connections of a device, best kind first; broken ones are left out. Raises `DecodeError`."""
    root = parse_markup(body)
    base = root.value("URLBase") or location
    found: list[Service] = []
    for element in root.walk():
        service = _service(element, base) if element.name == "service" else None
        if service is not None and service not in found:
            found.append(service)
    return tuple(sorted(found, key=lambda item: SERVICE_TYPES.index(item.type)))[:MAX_SERVICES]


def _service(element: Element, base: str) -> Service | None:
    kind, url = element.value("serviceType"), element.value("controlURL")
    if kind not in SERVICE_TYPES or not url or len(url) > _MAX_URL or len(base) > _MAX_URL:
        return None
    try:
        return Service(kind, parse_location(urljoin(base, url)))
    except (DecodeError, ValueError):
        return None


def encode_get(router: IPv4Address, place: Place) -> bytes:
    return encode_request("GET", place.path, _host(router, place))


def encode_action(
    router: IPv4Address, service: Service, action: str, arguments: Sequence[tuple[str, str]] = ()
) -> bytes:
    """A SOAP call. Routers are choosy: the `s:` and `u:` prefixes and the quotes of SOAPACTION stay."""
    inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in arguments)
    body = (
        '<?xml version="1.0"?>\r\n'
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
        's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>'
        f'<u:{action} xmlns:u="{service.type}">{inner}</u:{action}></s:Body></s:Envelope>\r\n'
    ).encode()
    headers = (("CONTENT-TYPE", 'text/xml; charset="utf-8"'), ("SOAPACTION", f'"{service.type}#{action}"'))
    return encode_request("POST", service.control.path, _host(router, service.control), headers, body)


def _host(router: IPv4Address, place: Place) -> str:
    return str(AddrPort(str(router), place.port))


def parse_action_reply(status: int, body: bytes, action: str) -> ActionReply:
    """Values of `<action>Response`, or the fault. Raises `DecodeError`."""
    if status not in (200, 500):
        raise DecodeError(DecodeReason.UNEXPECTED, "HTTP status")
    root = parse_markup(body)
    for element in root.walk():
        if element.name.lower() == "errorcode":
            return ActionReply({}, _number(element.text))
    answer = next((element for element in root.walk() if element.name == f"{action}Response"), None)
    if answer is None or status != 200:
        raise DecodeError(DecodeReason.UNEXPECTED, "SOAP reply")
    return ActionReply({child.name: child.text for child in answer.children})


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        raise DecodeError(DecodeReason.BAD_VALUE, "UPnP error code")
    return int(text)


def port_arguments(external_port: int) -> tuple[tuple[str, str], ...]:
    """What names a mapping. Port 0 would mean all ports and is refused."""
    if not 0 < external_port < 65536:
        raise ValueError("a mapping needs one external port")
    return (("NewRemoteHost", ""), ("NewExternalPort", str(external_port)), ("NewProtocol", "UDP"))


def add_arguments(
    external_port: int, internal_port: int, client: IPv4Address, lease_s: int, label: str
) -> tuple[tuple[str, str], ...]:
    """Arguments of AddPortMapping and AddAnyPortMapping, in their order."""
    return (
        *port_arguments(external_port),
        ("NewInternalPort", str(internal_port)),
        ("NewInternalClient", str(client)),
        ("NewEnabled", "1"),
        ("NewPortMappingDescription", label),
        ("NewLeaseDuration", str(lease_s)),
    )


def parse_external_address(reply: ActionReply) -> IPv4Address | None:
    """Of GetExternalIPAddress; None for what no peer could use."""
    try:
        address = IPv4Address(reply.values.get("NewExternalIPAddress", ""))
    except ValueError:
        return None
    return None if address.is_unspecified or address.is_loopback or address.is_multicast else address


def parse_port(text: str) -> int | None:
    """A reserved port, None when it is none."""
    if not text.isascii() or not text.isdigit() or len(text) > 5:
        return None
    port = int(text)
    return port if 0 < port < 65536 else None
