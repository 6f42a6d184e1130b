"""NATs and firewalls in the words of RFC 4787: mapping, port allocation, refresh, filtering, hairpin.

A binding dies when nothing went out through it for `timeout`; what it lets in from one remote dies likewise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from appliance.types.addresses import AddrPort
from tests.sim.network import Realm
from tests.sim.world import World

LOW_PORT = 1024
PORTS = 64512


class Mapping(Enum):
    """Whether the external port depends on the destination."""

    ENDPOINT_INDEPENDENT = "eim"
    ADDRESS_DEPENDENT = "adm"
    ADDRESS_AND_PORT_DEPENDENT = "apdm"


class Filtering(IntEnum):
    """Whose packets are let in, the most open first."""

    ENDPOINT_INDEPENDENT = 0
    ADDRESS_DEPENDENT = 1
    ADDRESS_AND_PORT_DEPENDENT = 2


class Allocation(Enum):
    """Which external port a new binding gets."""

    PRESERVING = "preserving"
    SEQUENTIAL = "sequential"
    RANDOM = "random"


@dataclass(slots=True)
class _Binding:
    """One external port: to whom it belongs, whom it has sent to and when, when it was last used."""

    slot: object
    inside: AddrPort
    outside: AddrPort
    used_at: float
    sent_to: dict[AddrPort, float] = field(default_factory=dict)


def lets_in(filtering: Filtering, sent_to: dict[AddrPort, float], source: AddrPort, since: float) -> bool:
    """Whether something was sent to the source, as strictly as the filtering looks, no earlier than `since`."""
    match filtering:
        case Filtering.ENDPOINT_INDEPENDENT:
            return True
        case Filtering.ADDRESS_DEPENDENT:
            return any(to.ip == source.ip and at >= since for to, at in sent_to.items())
        case Filtering.ADDRESS_AND_PORT_DEPENDENT:
            return sent_to.get(source, float("-inf")) >= since


class Nat:
    """Joins an inner realm to an outer one.

    `pool`: first external port and how many. `cap`: bindings at most; a full table refuses new ones, as carriers do.
    `background`: bindings a second that others behind the same NAT make, which moves a sequential counter.
    """

    def __init__(
        self,
        world: World,
        inner: Realm,
        outer: Realm,
        external_ip: str,
        *,
        mapping: Mapping = Mapping.ENDPOINT_INDEPENDENT,
        filtering: Filtering = Filtering.ADDRESS_AND_PORT_DEPENDENT,
        allocation: Allocation | None = None,
        timeout: float = 30.0,
        hairpin: bool = False,
        blocks_udp: bool = False,
        pool: tuple[int, int] = (LOW_PORT, PORTS),
        cap: int = PORTS,
        step: int = 1,
        background: float = 0.0,
    ) -> None:
        self.world, self.inner, self.outer, self.external_ip = world, inner, outer, external_ip
        self.mapping, self.filtering, self.timeout = mapping, filtering, timeout
        stable = mapping is Mapping.ENDPOINT_INDEPENDENT
        self.allocation = allocation or (Allocation.PRESERVING if stable else Allocation.RANDOM)
        self.hairpin, self.blocks_udp = hairpin, blocks_udp
        self.pool, self.cap, self.step, self.background = pool, min(cap, pool[1]), step, background
        self.refused = 0
        self._bindings: dict[object, _Binding] = {}
        self._by_port: dict[int, _Binding] = {}
        self._forwards: dict[int, AddrPort] = {}
        self._leases: dict[int, tuple[AddrPort, float]] = {}
        self.rebooted: Callable[[], None] | None = None
        """Told after a reboot."""
        self._counter = pool[0] + world.randomness.below(pool[1])
        self._counted_at = world.now
        inner.gateway = self
        outer.attach(external_ip, self._inbound)

    def forward(self, port: int, inside: AddrPort) -> None:
        """A port forward by hand."""
        self._forwards[port] = inside

    def lease(self, wanted: int, inside: AddrPort, seconds: float) -> int:
        """A forward on request, the wished port if it is free; 0 seconds end it. The port, 0 when there is none."""
        held = next((port for port, (owner, _) in self._leases.items() if owner == inside), 0)
        if not seconds:
            self._leases.pop(held, None)
            return 0
        port = held or wanted
        while not held and (self._taken(port) or port < LOW_PORT):
            port = LOW_PORT + self.world.randomness.below(PORTS)
        self._leases[port] = (inside, self.world.now + seconds)
        return port

    def lease_exactly(self, port: int, inside: AddrPort, seconds: float) -> bool:
        """A forward of this port and no other, unless somebody else has it."""
        if self._forward_of(port) != inside and self._taken(port):
            return False
        for held in [held for held, (owner, _) in self._leases.items() if owner == inside]:
            del self._leases[held]
        self._leases[port] = (inside, self.world.now + seconds)
        return True

    def end_lease(self, port: int) -> bool:
        return self._leases.pop(port, None) is not None

    # Ports

    def _slot(self, source: AddrPort, to: AddrPort) -> object:
        match self.mapping:
            case Mapping.ENDPOINT_INDEPENDENT:
                return source
            case Mapping.ADDRESS_DEPENDENT:
                return source, to.ip
            case Mapping.ADDRESS_AND_PORT_DEPENDENT:
                return source, to

    def _taken(self, port: int) -> bool:
        return port in self._by_port or self._forward_of(port) is not None

    def _forward_of(self, port: int) -> AddrPort | None:
        """To whom the port belongs by hand or by lease."""
        leased = self._leases.get(port)
        if leased is not None and leased[1] >= self.world.now:
            return leased[0]
        return self._forwards.get(port)

    def _port(self, source: AddrPort) -> int:
        match self.allocation:
            case Allocation.PRESERVING if not self._taken(source.port):
                return source.port
            case Allocation.SEQUENTIAL:
                return self._next_port()
        low, count = self.pool
        while self._taken(port := low + self.world.randomness.below(count)):
            pass
        return port

    def _next_port(self) -> int:
        low, count = self.pool
        others = self.background * (self.world.now - self._counted_at)
        whole = int(others) + (self.world.randomness.uniform(0, 1) < others % 1)
        self._counted_at = self.world.now
        self._counter = low + (self._counter - low + self.step * (1 + whole)) % count
        while self._taken(self._counter):
            self._counter = low + (self._counter - low + self.step) % count
        return self._counter

    # Bindings

    def _dead(self, binding: _Binding) -> bool:
        return self.world.now - binding.used_at > self.timeout

    def _drop(self, binding: _Binding) -> None:
        self._bindings.pop(binding.slot, None)
        self._by_port.pop(binding.outside.port, None)

    def _binding(self, source: AddrPort, to: AddrPort) -> _Binding | None:
        """The one that a packet goes out by, None when the table is full."""
        slot = self._slot(source, to)
        binding = self._bindings.get(slot)
        if binding is not None and self._dead(binding):
            self._drop(binding)
            binding = None
        return binding or self._make(slot, source)

    def _make(self, slot: object, source: AddrPort) -> _Binding | None:
        if len(self._bindings) >= self.cap:
            for old in [old for old in self._bindings.values() if self._dead(old)]:
                self._drop(old)
        if len(self._bindings) >= self.cap:
            self.refused += 1
            return None
        outside = AddrPort(self.external_ip, self._port(source))
        made = self._bindings[slot] = self._by_port[outside.port] = _Binding(slot, source, outside, self.world.now)
        return made

    # Packets

    def send(self, source: AddrPort, to: AddrPort, data: bytes) -> None:
        """From inside out."""
        if self.blocks_udp:
            return
        outside = self._forwarded(source)
        if outside is None:
            binding = self._binding(source, to)
            if binding is None:
                return
            binding.sent_to[to] = binding.used_at = self.world.now
            outside = binding.outside
        if to.ip != self.external_ip:
            self.outer.send(outside, to, data)
        elif self.hairpin:
            self._inbound(outside, to, data)

    def _forwarded(self, source: AddrPort) -> AddrPort | None:
        for port in (*self._forwards, *self._leases):
            if self._forward_of(port) == source:
                return AddrPort(self.external_ip, port)
        return None

    def _inbound(self, source: AddrPort, to: AddrPort, data: bytes) -> None:
        if self.blocks_udp:
            return
        inside = self._forward_of(to.port)
        if inside is None:
            binding = self._by_port.get(to.port)
            if binding is None or self._dead(binding):
                return
            if not lets_in(self.filtering, binding.sent_to, source, self.world.now - self.timeout):
                return
            inside = binding.inside
        self.inner.send(source, inside, data)

    def reboot(self) -> None:
        """Every binding and lease is lost; forwards are configuration and stay."""
        self._bindings.clear()
        self._by_port.clear()
        self._leases.clear()
        if self.rebooted is not None:
            self.rebooted()


class Firewall:
    """A stateful filter without translation, before global addresses of either IP version."""

    def __init__(
        self,
        world: World,
        inner: Realm,
        outer: Realm,
        *,
        filtering: Filtering = Filtering.ADDRESS_AND_PORT_DEPENDENT,
        timeout: float = 60.0,
    ) -> None:
        self.world, self.inner, self.outer = world, inner, outer
        self.filtering, self.timeout = filtering, timeout
        self.blocks_udp = False
        self._guarded: set[str] = set()
        self._flows: dict[AddrPort, dict[AddrPort, float]] = {}

    def guard(self, ip: str) -> None:
        """An address of the inner realm that the outer one reaches through here."""
        self.outer.attach(ip, self._inbound)
        self._guarded.add(ip)
        if ":" in ip:
            self.inner.gateway_v6 = self
        else:
            self.inner.gateway = self

    def send(self, source: AddrPort, to: AddrPort, data: bytes) -> None:
        if not self.blocks_udp and to.ip not in self._guarded:  # who has left the inside is not outside
            self._flows.setdefault(source, {})[to] = self.world.now
            self.outer.send(source, to, data)

    def _inbound(self, source: AddrPort, to: AddrPort, data: bytes) -> None:
        flows = self._flows.get(to)
        if self.blocks_udp or (flows is None and self.filtering is not Filtering.ENDPOINT_INDEPENDENT):
            return
        if lets_in(self.filtering, flows or {}, source, self.world.now - self.timeout):
            self.inner.send(source, to, data)

    def reboot(self) -> None:
        """The state is lost."""
        self._flows.clear()
