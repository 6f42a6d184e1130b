"""A router that speaks what it is told to, and the machine that asks it, on a clock that stands still."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address
from urllib.parse import urlsplit

from appliance.portmap.machine import PortMapper
from appliance.portmap.mapping import Kind, RouterPlace
from appliance.portmap.outbox import FetchFromRouter, MappingChanged, SendToRouter
from appliance.ports.randomness import SeededRandomness
from appliance.proto.http1.head import parse_request_head
from appliance.proto.portmap.markup import parse_markup
from appliance.proto.portmap.web import Reply
from appliance.types.addresses import AddrPort

PLACE = RouterPlace(IPv4Address("192.168.1.1"), IPv4Address("192.168.1.10"))
PORT = 41641
START = 1000.0
IP1 = "urn:schemas-upnp-org:service:WANIPConnection:1"
IP2 = "urn:schemas-upnp-org:service:WANIPConnection:2"


def soap(action: str, **values: str) -> Reply:
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in values.items())
    return Reply(200, f"<e><b><{action}Response>{inner}</{action}Response></b></e>".encode())


def fault(code: int) -> Reply:
    return Reply(500, f"<e><b><detail><UPnPError><errorCode>{code}</errorCode></UPnPError></detail></b></e>".encode())


@dataclass
class TwinRouter:
    """`refuse` by protocol: result or error code. `services` of its description; `faults` are given out first."""

    speaks: set[Kind] = field(default_factory=lambda: set(Kind))
    external: str = "203.0.113.5"
    booted_at: float = 0.0
    lifetime_s: int = 7200
    refuse: dict[Kind, int] = field(default_factory=dict)
    services: tuple[str, ...] = (IP1,)
    faults: list[int] = field(default_factory=list)
    location: str = "http://192.168.1.1:5000/desc.xml"
    mappings: dict[int, int] = field(default_factory=dict)
    nonces: dict[int, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    arguments: dict[str, str] = field(default_factory=dict)

    def epoch(self, now: float) -> bytes:
        return int(now - self.booted_at).to_bytes(4, "big")

    def answer(self, to: AddrPort, data: bytes, now: float) -> tuple[AddrPort, bytes] | None:
        """The datagram that comes back, with its source."""
        router = str(PLACE.router)
        if to.port == 1900:
            return (AddrPort(router, 1900), self._ssdp()) if Kind.UPNP in self.speaks else None
        if to.port != 5351:
            return None
        kind = Kind.PCP if data[0] == 2 else Kind.NAT_PMP
        if kind not in self.speaks:
            return None
        reply = self._pcp(data, now) if kind is Kind.PCP else self._pmp(data, now)
        return AddrPort(router, 5351), reply

    def _ssdp(self) -> bytes:
        device = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
        return f"HTTP/1.1 200 OK\r\nUSN: uuid:1::{device}\r\nLOCATION: {self.location}\r\n\r\n".encode()

    def _pcp(self, data: bytes, now: float) -> bytes:
        self.asked.append("pcp map" if data[1] else "pcp announce")
        result = self.refuse.get(Kind.PCP, 0) if data[1] else 0
        wanted = int.from_bytes(data[4:8], "big")
        lifetime = min(self.lifetime_s, wanted).to_bytes(4, "big")
        head = bytes((2, 0x80 | data[1], 0, result)) + lifetime + self.epoch(now) + bytes(12)
        if not data[1]:
            return head
        internal = int.from_bytes(data[40:42], "big")
        if internal in self.mappings and self.nonces.setdefault(internal, data[24:36]) != data[24:36]:
            return head[:3] + b"\x02" + head[4:] + data[24:]
        self.nonces[internal] = data[24:36]
        port = self._map(internal, int.from_bytes(data[42:44], "big"), wanted) if not result else 0
        address = bytes(10) + b"\xff\xff" + IPv4Address(self.external).packed
        return head + data[24:42] + port.to_bytes(2, "big") + address

    def _pmp(self, data: bytes, now: float) -> bytes:
        self.asked.append("pmp map" if data[1] else "pmp address")
        result = self.refuse.get(Kind.NAT_PMP, 0) if data[1] else 0
        head = bytes((0, 0x80 | data[1], 0, result)) + self.epoch(now)
        if not data[1]:
            return head + IPv4Address(self.external).packed
        internal, wanted = int.from_bytes(data[4:6], "big"), int.from_bytes(data[8:12], "big")
        port = self._map(internal, int.from_bytes(data[6:8], "big"), wanted) if not result else 0
        lifetime = min(self.lifetime_s, wanted)
        return head + data[4:6] + port.to_bytes(2, "big") + lifetime.to_bytes(4, "big")

    def _map(self, internal: int, wanted: int, lifetime_s: int) -> int:
        if not lifetime_s:
            self.mappings.pop(internal, None)
            return 0
        self.mappings[internal] = wanted or self.mappings.get(internal, 50001)
        return self.mappings[internal]

    def web(self, port: int, data: bytes) -> Reply | None:
        """An HTTP exchange with one of its TCP ports."""
        parsed = parse_request_head(data)
        assert parsed is not None
        head, size = parsed
        where = urlsplit(self.location)
        if port != where.port:
            return None
        if head.method == "GET":
            listed = "".join(
                f"<service><serviceType>{kind}</serviceType><controlURL>/{number}</controlURL></service>"
                for number, kind in enumerate(self.services)
            )
            return Reply(200, f"<root><device>{listed}</device></root>".encode())
        action = (head.header("soapaction") or "").strip('"').rpartition("#")[2]
        self.asked.append(action)
        return self._act(action, data[size:])

    def _act(self, action: str, body: bytes) -> Reply:
        arguments = {element.name: element.text for element in parse_markup(body).walk()}
        if action == "GetExternalIPAddress":
            return soap(action, NewExternalIPAddress=self.external)
        if action == "GetStatusInfo":
            return soap(action, NewConnectionStatus="Connected")
        if action == "DeletePortMapping":
            self.mappings.clear()
            return soap(action)
        self.arguments = arguments
        if self.faults:
            return fault(self.faults.pop(0))
        self.mappings[int(arguments["NewInternalPort"])] = int(arguments["NewExternalPort"])
        return soap(action, NewReservedPort=arguments["NewExternalPort"])


class Rig:
    """Carries datagrams and HTTP between machine and router at once; `lost` swallows everything."""

    def __init__(self, *kinds: Kind) -> None:
        self.router = TwinRouter()
        self.machine = PortMapper(SeededRandomness("portmap"), kinds or tuple(Kind))
        self.now = START
        self.lost = False
        self.changes = 0
        self.sent: list[SendToRouter] = []
        self.fetched: list[FetchFromRouter] = []

    def carry(self) -> None:
        while (action := self.machine.next_action()) is not None:
            if isinstance(action, MappingChanged):
                self.changes += 1
            elif isinstance(action, SendToRouter):
                self.sent.append(action)
                answer = None if self.lost else self.router.answer(action.to, action.data, self.now)
                if answer is not None:
                    self.machine.receive_datagram(answer[1], answer[0], self.now)
            else:
                self.fetched.append(action)
                reply = None if self.lost else self.router.web(action.port, action.data)
                self.machine.receive_web(action.token, reply, self.now)

    def join(self) -> None:
        self.machine.set_network(PLACE, PORT, self.now)
        self.carry()

    def run(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        end = self.now + seconds
        for _ in range(10_000):
            due = self.machine.next_timer()
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            self.machine.handle_timer(self.now)
            self.carry()
        else:
            raise AssertionError("timers without end")
        self.now = end

    @property
    def external(self) -> AddrPort | None:
        mapping = self.machine.result.mapping
        return mapping.external if mapping is not None else None
