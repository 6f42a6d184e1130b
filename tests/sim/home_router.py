"""A home router that maps ports on request, as bytes: PCP (RFC 6887), NAT-PMP (RFC 6886) and UPnP IGD.

The other side of `appliance.portmap`: what it answers is written from the standards, and read by the product alone.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection
from ipaddress import IPv4Address

from appliance.portmap.mapping import Kind
from appliance.proto.portmap import natpmp, ssdp
from appliance.types.addresses import AddrPort
from tests.sim.igd import IgdPages
from tests.sim.nat import Nat
from tests.sim.network import Realm
from tests.sim.world import World

LONGEST_LEASE_S = 7200.0
PCP_HEAD = 24
PCP_MAP = 36
UNSUPPORTED_VERSION, NOT_AUTHORIZED = 1, 2

Hears = Callable[[bytes, AddrPort], None]


class HomeRouter:
    """The NAT's own address on the LAN. `speaks`: protocols; `longest_s`: the longest lease that it grants.

    Leases end with their time and with the NAT's state; the epoch starts anew then, and a router that speaks PCP tells
    everybody on the LAN. `stopped`: the mapping service hangs, packets pass as ever.
    """

    def __init__(
        self,
        world: World,
        lan: Realm,
        ip: str,
        nat: Nat,
        speaks: Collection[Kind] = (Kind.NAT_PMP,),
        longest_s: float = LONGEST_LEASE_S,
    ) -> None:
        self.world, self.lan, self.nat, self.ip = world, lan, nat, ip
        self.stopped = False
        self._speaks, self._longest_s = frozenset(speaks), longest_s
        self._epoch_from = world.now
        self._nonces: dict[AddrPort, bytes] = {}
        self._members: list[Hears] = []
        self._igd = IgdPages(nat)
        nat.rebooted = self._rebooted
        lan.attach(ip, self._receive)

    def join(self, hears: Hears) -> None:
        """A host on the LAN listens to what is told to all."""
        self._members.append(hears)

    @property
    def _epoch(self) -> int:
        return int(self.world.now - self._epoch_from)

    def _rebooted(self) -> None:
        self._epoch_from = self.world.now
        self._nonces.clear()
        if Kind.PCP in self._speaks and not self.stopped:
            announcement = struct.pack(">BBBBII12x", 2, 0x80, 0, 0, 0, 0)
            for hears in self._members:
                self.world.after(self.lan.quality.delay, lambda to=hears: to(announcement, self._at(natpmp.PORT)))

    def _at(self, port: int) -> AddrPort:
        return AddrPort(self.ip, port)

    # Datagrams

    def _receive(self, source: AddrPort, to: AddrPort, data: bytes) -> None:
        if self.stopped or self.nat.blocks_udp:
            return
        if to.port == ssdp.PORT and Kind.UPNP in self._speaks and data.startswith(b"M-SEARCH"):
            self.lan.send(to, source, self._igd.search_answer(self.ip))
        elif to.port == natpmp.PORT and self._speaks & {Kind.PCP, Kind.NAT_PMP}:
            answer = self._answer(source, data)
            if answer:
                self.lan.send(to, source, answer)

    def _answer(self, source: AddrPort, data: bytes) -> bytes:
        if data[:1] == b"\x02":
            if Kind.PCP in self._speaks:
                return self._pcp(source, data)
            return struct.pack(">BBHI", 0, 128, UNSUPPORTED_VERSION, self._epoch)
        if Kind.NAT_PMP in self._speaks:
            return self._pmp(source, data)
        return struct.pack(">BBBBII12x", 2, 0x80, 0, UNSUPPORTED_VERSION, 0, self._epoch)

    def _pmp(self, source: AddrPort, data: bytes) -> bytes:
        if data == b"\0\0":
            return struct.pack(">BBHI", 0, 128, 0, self._epoch) + IPv4Address(self.nat.external_ip).packed
        if len(data) != 12 or data[1] != 1:
            return b""
        internal, wanted, lifetime = struct.unpack(">HHI", data[4:])
        granted = min(float(lifetime), self._longest_s)
        port = self.nat.lease(wanted or internal, AddrPort(source.ip, internal), granted)
        return struct.pack(">BBHIHHI", 0, 129, 0, self._epoch, internal, port, int(granted))

    def _pcp(self, source: AddrPort, data: bytes) -> bytes:
        if len(data) < PCP_HEAD:
            return b""
        opcode, lifetime = data[1], int.from_bytes(data[4:8], "big")
        if opcode == 0:
            return struct.pack(">BBBBII12x", 2, 0x80, 0, 0, 0, self._epoch)
        if len(data) < PCP_HEAD + PCP_MAP:
            return b""
        nonce, internal, wanted = data[24:36], *struct.unpack(">HH", data[40:44])
        inside = AddrPort(source.ip, internal)
        refused = self._nonces.setdefault(inside, nonce) != nonce
        granted = 0.0 if refused else min(float(lifetime), self._longest_s)
        port = 0 if refused else self.nat.lease(wanted or internal, inside, granted)
        if not refused and not lifetime:
            del self._nonces[inside]
        head = struct.pack(">BBBBII12x", 2, 0x81, 0, NOT_AUTHORIZED if refused else 0, int(granted), self._epoch)
        outside = bytes(10) + b"\xff\xff" + IPv4Address(self.nat.external_ip).packed
        return head + data[24:42] + port.to_bytes(2, "big") + outside

    # TCP

    def web(self, port: int, data: bytes, client: str) -> bytes | None:
        """One HTTP exchange with a TCP port of the router; None: nobody answers there."""
        if self.stopped or Kind.UPNP not in self._speaks:
            return None
        return self._igd.answer(port, data, client)
