"""Measures the uplinks and says which one is to be used: sockets and time around meters and choice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from appliance.ports.clock import Clock
from appliance.ports.packets import UdpPort, one
from appliance.ports.randomness import Randomness
from appliance.types.addresses import AddrPort
from appliance.types.errors import ApplianceError
from appliance.uplinks.capacity import CapacityMeter, DownwardMeter, UpwardMeter
from appliance.uplinks.choice import Policy, choose, in_question
from appliance.uplinks.meter import Condition, Quality, UplinkMeter
from appliance.uplinks.rates import RateMeter, Throughput

QUIET_BYTES_S = 125_000
"""An interface with more traffic than this is in use: measuring it would disturb that, and find too little."""

OpenPort = Callable[[str], UdpPort]
"""A UDP socket that sends through this interface only. Raises `ApplianceError`."""


ReadBytes = Callable[[str], tuple[int, int] | None]
"""Bytes received and sent by an interface since it came, None when it is not there."""


def no_counters(_interface: str) -> tuple[int, int] | None:
    """Where throughput is not to be known."""
    return None


@dataclass(frozen=True, slots=True)
class UplinkState:
    """For people. `quality` None: not there now. `metered`: its capacity is not measured, to save data."""

    interface: str
    in_use: bool
    quality: Quality | None
    throughput: Throughput = Throughput()  # noqa: RUF009  # immutable
    metered: bool = False


class UplinkService:
    """`order`: interfaces, the preferred first. `on_choice` gets the interface to use, "" = none of them is there.

    `measured`: whether what an interface carries may be measured, which costs data.
    """

    def __init__(
        self,
        open_port: OpenPort,
        clock: Clock,
        randomness: Randomness,
        *,
        order: Sequence[str],
        policy: Policy,
        on_choice: Callable[[str], None],
        read_bytes: ReadBytes = no_counters,
        measured: Callable[[str], bool] = lambda _interface: False,
    ) -> None:
        self._open_port = open_port
        self._clock = clock
        self._randomness = randomness
        self._order = tuple(order)
        self._policy = policy
        self._on_choice = on_choice
        self._read_bytes = read_bytes
        self._measured = measured
        self._capacities: dict[str, tuple[UpwardMeter, DownwardMeter]] = {}
        self._rates: dict[str, RateMeter] = {}
        self._meters: dict[str, UplinkMeter] = {}
        self._ports: dict[str, UdpPort] = {}
        self._targets: tuple[AddrPort, ...] = ()
        self._current = ""
        self._changed = asyncio.Event()

    @property
    def current(self) -> str:
        return self._current

    def states(self) -> tuple[UplinkState, ...]:
        return tuple(self._state(name) for name in self._order)

    def _state(self, name: str) -> UplinkState:
        meter = self._meters.get(name)
        if meter is None:
            return UplinkState(name, False, None)
        metered = name not in self._capacities
        return UplinkState(name, name == self._current, self._quality(name), self._rates[name].throughput, metered)

    def _quality(self, name: str) -> Quality:
        quality = self._meters[name].quality()
        if name not in self._capacities:
            return quality
        up, down = self._capacities[name]
        return replace(quality, up_rate=up.rate, down_rate=down.rate)

    def set_present(self, interfaces: Sequence[str]) -> None:
        """Those that have a default route now."""
        for name in [name for name in self._meters if name not in interfaces]:
            del self._meters[name], self._rates[name]
            self._capacities.pop(name, None)
            self._close(name)
        for name in self._order:
            if name in interfaces and name not in self._meters:
                self._meters[name] = UplinkMeter(self._randomness, self._clock.now())
                self._meters[name].set_targets(self._targets)
                self._rates[name] = RateMeter()
                if self._measured(name):
                    self._capacities[name] = self._new_capacities()
        self._decide()
        self._changed.set()

    def _new_capacities(self) -> tuple[UpwardMeter, DownwardMeter]:
        now = self._clock.now()
        made = UpwardMeter(self._randomness, now), DownwardMeter(self._randomness, now)
        for meter in made:
            meter.set_targets(self._targets)
        return made

    def set_targets(self, targets: Sequence[AddrPort]) -> None:
        """STUN servers over IPv4."""
        if tuple(targets) != self._targets:
            self._targets = tuple(targets)
            for meter in self._all_meters():
                meter.set_targets(targets)
            self._changed.set()

    def _all_meters(self) -> tuple[UplinkMeter | CapacityMeter, ...]:
        return *self._meters.values(), *chain.from_iterable(self._capacities.values())

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                self._changed.clear()
                self._step()
                await self._wait()
        finally:
            for name in list(self._ports):
                self._close(name)

    async def _wait(self) -> None:
        due = [at for meter in self._all_meters() if (at := meter.next_timer()) is not None]
        if not due:
            await self._changed.wait()
            return
        try:
            async with asyncio.timeout(max(0.0, min(due) - self._clock.now())):
                await self._changed.wait()
        except TimeoutError:
            return

    def _step(self) -> None:
        now = self._clock.now()
        for name, meter in self._meters.items():
            request = meter.handle_timer(now)
            if request is not None and not self._send(name, *request):
                meter.failed()
            counters = self._read_bytes(name)
            if counters is not None:
                self._rates[name].read(*counters, now)
        for name, (up, down) in self._capacities.items():
            may = self._may_measure(name)
            for capacity, other in ((up, down), (down, up)):
                for to, data in capacity.handle_timer(now, may=may and not other.busy):
                    self._send(name, to, data)
        self._decide()

    def _may_measure(self, name: str) -> bool:
        quality, rates = self._meters[name].quality(), self._rates[name].throughput
        works = quality.condition is Condition.GOOD and quality.silent_since is None and quality.answered_in_a_row > 0
        return works and max(rates.rx_rate, rates.tx_rate) <= QUIET_BYTES_S

    def _send(self, name: str, to: AddrPort, data: bytes) -> bool:
        try:
            if name not in self._ports:
                port = self._ports[name] = self._open_port(name)
                port.set_reader(lambda: self._readable(name))
            self._ports[name].send(to, one(data))
        except (OSError, ApplianceError):
            self._close(name)  # the interface may have come back as another one
            return False
        return True

    def _readable(self, name: str) -> None:
        now = self._clock.now()
        for _, batch in self._ports[name].receive():
            for datagram in batch:
                if self._received(name, bytes(datagram), now):
                    self._changed.set()

    def _received(self, name: str, datagram: bytes, now: float) -> bool:
        if name in self._meters and self._meters[name].receive(datagram, now):
            return True
        return any(meter.receive(datagram, now) for meter in self._capacities.get(name, ()))

    def _decide(self) -> None:
        known = {name: self._quality(name) for name in self._meters}
        chosen = choose(self._policy, self._order, known, self._current)
        for name, meter in self._meters.items():
            meter.set_quick(in_question(self._policy, self._order, known, chosen, name))
        if chosen != self._current:
            self._current = chosen
            self._on_choice(chosen)

    def _close(self, name: str) -> None:
        port = self._ports.pop(name, None)
        if port is not None:
            port.close()
