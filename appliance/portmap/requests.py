"""One mapping by NAT-PMP or PCP: the datagrams, how often they are repeated, and what the answer means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Protocol

from appliance.portmap.mapping import WANTED_LIFETIME_S, Kind, Mapping, RouterPlace
from appliance.proto.portmap import natpmp, pcp
from appliance.types.addresses import AddrPort

NO_ADDRESS = AddrPort("0.0.0.0", 0)  # noqa: S104  # any address will do, nothing is bound
REPEAT_S = (0.0, 0.25, 0.75, 1.75)
"""Requests go out so long after the start (each wait doubles, RFC 6886 section 3.1)."""
GIVE_UP_S = 3.75
MIN_LIFETIME_S = 120.0
"""Shorter grants are renewed no more often than this suggests (RFC 6887 section 15 warns of tiny ones)."""


@dataclass(frozen=True, slots=True)
class Wish:
    """`external` is the address and port had before; the port may be 0."""

    place: RouterPlace
    internal_port: int
    external: AddrPort
    nonce: bytes


class DatagramRequest(Protocol):
    """A mapping being asked for. After each call look at `mapping` and `refused`."""

    kind: Kind
    mapping: Mapping | None
    refused: str

    def requests(self) -> Sequence[bytes]:
        """What is still unanswered, to be sent once more."""
        ...

    def receive(self, reply: object, now: float) -> None: ...


class PmpRequest:
    """The outside address and the port are two questions."""

    kind = Kind.NAT_PMP

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._address: IPv4Address | None = None
        self._ports: natpmp.MapReply | None = None
        self.mapping: Mapping | None = None
        self.refused = ""

    def requests(self) -> Sequence[bytes]:
        wanted = []
        if self._address is None:
            wanted.append(natpmp.encode_address_request())
        if self._ports is None:
            wish = self._wish
            wanted.append(natpmp.encode_map_request(wish.internal_port, wish.external.port, WANTED_LIFETIME_S))
        return wanted

    def receive(self, reply: object, now: float) -> None:
        if not isinstance(reply, natpmp.AddressReply | natpmp.MapReply):
            return
        if reply.result:
            self.refused = natpmp.RESULTS.get(reply.result, f"result {reply.result}")
            return
        if isinstance(reply, natpmp.AddressReply):
            if reply.address is None:
                self.refused = "the router has no address itself"
            self._address = reply.address
        elif reply.internal_port == self._wish.internal_port and reply.external_port and reply.lifetime_s:
            self._ports = reply
        if self._address is not None and self._ports is not None:
            self.mapping = _granted(
                self.kind, self._wish, self._address, self._ports.external_port, self._ports.lifetime_s, now
            )
            if self.mapping is None:
                self.refused = "the router named an address that nobody can reach"


class PcpRequest:
    kind = Kind.PCP

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self.mapping: Mapping | None = None
        self.refused = ""

    def requests(self) -> Sequence[bytes]:
        wish = self._wish
        return [
            pcp.encode_map(
                wish.place.own,
                wish.nonce,
                wish.internal_port,
                WANTED_LIFETIME_S,
                external_port=wish.external.port,
                external_address=IPv4Address(wish.external.ip),
            )
        ]

    def receive(self, reply: object, now: float) -> None:
        if not isinstance(reply, pcp.Reply) or reply.opcode != pcp.MAP:
            return
        data = reply.mapping
        if data is not None and (data.nonce != self._wish.nonce or data.internal_port != self._wish.internal_port):
            return
        if reply.result:
            self.refused = pcp.RESULTS.get(reply.result, f"result {reply.result}")
        elif data is not None and data.external_port and reply.lifetime_s:
            address = data.external_address
            self.mapping = _granted(self.kind, self._wish, address, data.external_port, reply.lifetime_s, now)
            if self.mapping is None:
                self.refused = "the router named an address that nobody can reach"


def _granted(kind: Kind, wish: Wish, address: object, port: int, lifetime_s: float, now: float) -> Mapping | None:
    """None for addresses that no peer could send to."""
    if not isinstance(address, IPv4Address) or address.is_unspecified or address.is_loopback or address.is_multicast:
        return None
    lifetime = min(max(float(lifetime_s), MIN_LIFETIME_S), float(WANTED_LIFETIME_S))
    return Mapping(kind, AddrPort(str(address), port), wish.internal_port, now, lifetime)
