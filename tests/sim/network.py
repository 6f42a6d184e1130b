"""Networks: the Internet, LANs, NATs in RFC 4787 words, hosts. Datagrams are (source, destination, bytes).

host -- Lan -- Nat -- Internet            host -- Lan -- Nat -- Lan -- Nat -- Internet
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Protocol

from appliance.types.addresses import AddrPort
from tests.sim.world import World


class Mapping(Enum):
    """How a NAT chooses the external port."""

    ENDPOINT_INDEPENDENT = "eim"
    ADDRESS_DEPENDENT = "adm"
    ADDRESS_AND_PORT_DEPENDENT = "apdm"


class Filtering(IntEnum):
    """Whose packets a NAT lets in, the most open first."""

    ENDPOINT_INDEPENDENT = 0
    ADDRESS_DEPENDENT = 1
    ADDRESS_AND_PORT_DEPENDENT = 2


@dataclass
class Quality:
    """Of a wire, one way: seconds of delay, spread of it (which reorders), share of packets lost."""

    delay: float = 0.01
    jitter: float = 0.0
    loss: float = 0.0


class Upstream(Protocol):
    """Where packets go that are not for here."""

    def send(self, source: AddrPort, to: AddrPort, data: bytes) -> None: ...


class Realm:
    """One address space: packets reach whoever has the address; the rest goes to the gateway, if there is one."""

    def __init__(self, world: World, quality: Quality) -> None:
        self.world = world
        self.quality = quality
        self.gateway: Upstream | None = None
        self._receivers: dict[str, Callable[[AddrPort, AddrPort, bytes], None]] = {}

    def attach(self, ip: str, receive: Callable[[AddrPort, AddrPort, bytes], None]) -> None:
        if ip in self._receivers:
            raise ValueError(f"{ip} is taken")
        self._receivers[ip] = receive

    def detach(self, ip: str) -> None:
        self._receivers.pop(ip, None)

    def send(self, source: AddrPort, to: AddrPort, data: bytes) -> None:
        """Onto the wire; lost, late or delivered."""
        chance = self.world.randomness
        if self.quality.loss and chance.uniform(0, 1) < self.quality.loss:
            return
        delay = self.quality.delay + (chance.uniform(0, self.quality.jitter) if self.quality.jitter else 0.0)
        self.world.after(delay, lambda: self._arrive(source, to, data))

    def _arrive(self, source: AddrPort, to: AddrPort, data: bytes) -> None:
        receive = self._receivers.get(to.ip)
        if receive is not None:
            receive(source, to, data)
        elif self.gateway is not None:
            self.gateway.send(source, to, data)


@dataclass(slots=True)
class _Binding:
    """One external port: to whom it belongs, whom it has sent to, when it was last used."""

    inside: AddrPort
    outside: AddrPort
    sent_to: set[AddrPort]
    used_at: float


class Nat:
    """Joins an inner realm to an outer one. `blocks_udp` lets nothing through; `public` addresses belong to it."""

    def __init__(
        self,
        world: World,
        inner: Realm,
        outer: Realm,
        external_ip: str,
        *,
        mapping: Mapping = Mapping.ENDPOINT_INDEPENDENT,
        filtering: Filtering = Filtering.ADDRESS_AND_PORT_DEPENDENT,
        timeout: float = 30.0,
        hairpin: bool = False,
        blocks_udp: bool = False,
        translates: bool = True,
    ) -> None:
        self.world, self.inner, self.outer, self.external_ip = world, inner, outer, external_ip
        self.mapping, self.filtering, self.timeout = mapping, filtering, timeout
        self.hairpin, self.blocks_udp, self.translates = hairpin, blocks_udp, translates
        self._bindings: dict[object, _Binding] = {}
        self._by_port: dict[int, _Binding] = {}
        inner.gateway = self
        outer.attach(external_ip, self._inbound)

    def _slot(self, source: AddrPort, to: AddrPort) -> object:
        match self.mapping:
            case Mapping.ENDPOINT_INDEPENDENT:
                return source
            case Mapping.ADDRESS_DEPENDENT:
                return source, to.ip
            case Mapping.ADDRESS_AND_PORT_DEPENDENT:
                return source, to

    def _port(self, source: AddrPort) -> int:
        """Preserved where that is free and mapping is endpoint-independent; else by chance."""
        if self.mapping is Mapping.ENDPOINT_INDEPENDENT and source.port not in self._by_port:
            return source.port
        while (port := 1024 + self.world.randomness.below(64512)) in self._by_port:
            pass
        return port

    def _forget_stale(self, slot: object, binding: _Binding) -> bool:
        if self.world.now - binding.used_at <= self.timeout:
            return False
        self._bindings.pop(slot, None)
        self._by_port.pop(binding.outside.port, None)
        return True

    def send(self, source: AddrPort, to: AddrPort, data: bytes) -> None:
        """From inside out."""
        if self.blocks_udp:
            return
        slot = self._slot(source, to)
        binding = self._bindings.get(slot)
        if binding is None or self._forget_stale(slot, binding):
            outside = AddrPort(self.external_ip, self._port(source) if self.translates else source.port)
            binding = self._bindings[slot] = _Binding(source, outside, set(), self.world.now)
            self._by_port[outside.port] = binding
        binding.sent_to.add(to)
        binding.used_at = self.world.now
        if to.ip == self.external_ip:
            if self.hairpin:
                self._inbound(binding.outside, to, data)
            return
        self.outer.send(binding.outside, to, data)

    def _inbound(self, source: AddrPort, to: AddrPort, data: bytes) -> None:
        binding = self._by_port.get(to.port)
        if self.blocks_udp or binding is None or self.world.now - binding.used_at > self.timeout:
            return
        if self._lets_in(binding, source):
            self.inner.send(source, binding.inside, data)

    def _lets_in(self, binding: _Binding, source: AddrPort) -> bool:
        match self.filtering:
            case Filtering.ENDPOINT_INDEPENDENT:
                return True
            case Filtering.ADDRESS_DEPENDENT:
                return any(to.ip == source.ip for to in binding.sent_to)
            case Filtering.ADDRESS_AND_PORT_DEPENDENT:
                return source in binding.sent_to

    def reboot(self) -> None:
        """Every binding is lost."""
        self._bindings.clear()
        self._by_port.clear()


class Host:
    """A machine with one address, whose one UDP port belongs to `receive`."""

    def __init__(self, world: World, realm: Realm, ip: str, port: int = 41641) -> None:
        self.world, self.realm, self.ip, self.port = world, realm, ip, port
        self.receive: Callable[[AddrPort, bytes], None] | None = None
        self.blackholed: set[str] = set()
        realm.attach(ip, self._arrive)

    @property
    def local(self) -> AddrPort:
        return AddrPort(self.ip, self.port)

    def send(self, to: AddrPort, data: bytes) -> None:
        """Raises OSError as a socket without IPv6 does."""
        if to.is_v6:
            raise OSError(errno.ENETUNREACH, "no route")
        self.realm.send(self.local, to, data)

    def _arrive(self, source: AddrPort, to: AddrPort, data: bytes) -> None:
        if to.port == self.port and self.receive is not None and source.ip not in self.blackholed:
            self.receive(source, data)

    def move(self, realm: Realm, ip: str) -> None:
        """Roam: another network, another address."""
        self.realm.detach(self.ip)
        self.realm, self.ip = realm, ip
        realm.attach(ip, self._arrive)
