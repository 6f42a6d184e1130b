"""Which sessions the kernel forwards for, and what it told of them; the service that keeps it so."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NoReturn

from appliance.api import HostHandle, KernelRelay, LogLevel, PairTraffic, RelayPair
from appliance.types.errors import ApplianceError
from plugins.peer_relay.forwarding import Transport, family

if TYPE_CHECKING:
    from appliance.proto.peer_relay import RelayServer, Session
    from plugins.peer_relay.relay import Relay

TICK_S = 1.0
"""Far below the kernel's lease."""
RETRY_TICKS = 60
SWITCHED_OFF = "switched off by the setting `kernel`"
NOT_LISTENING = "the port is not open"


def wanted_pairs(server: RelayServer) -> dict[int, RelayPair]:
    """Sessions with both sides bound, each at an address of one IP version."""
    found: dict[int, RelayPair] = {}
    for session in server:
        first, second = (leg.bound for leg in session.legs)
        if first is not None and second is not None and first.is_v6 == second.is_v6:
            found[session.vni] = RelayPair(first, second, server.limits.bytes_per_s)
    return found


class KernelPath:
    """`reason` says why the kernel forwards nothing, "" while it may."""

    def __init__(self) -> None:
        self.reason = NOT_LISTENING
        self.packets: Counter[Transport] = Counter()
        self.bytes: Counter[Transport] = Counter()
        self._kernel: KernelRelay | None = None
        self._pairs: dict[int, RelayPair] = {}

    @property
    def serving(self) -> int:
        """Sessions that it forwards for."""
        return self._kernel.serving if self._kernel is not None else 0

    @property
    def is_on(self) -> bool:
        return self._kernel is not None

    def use(self, kernel: KernelRelay) -> None:
        self._kernel, self.reason = kernel, ""

    def stop(self, reason: str) -> None:
        kernel, self._kernel, self.reason = self._kernel, None, reason
        if kernel is not None:
            kernel.close()

    def forget(self, vni: int) -> None:
        """Its packets come to the socket from now on, until the next `follow`."""
        if self._kernel is not None:
            self._kernel.forget(vni)

    def follow(self, server: RelayServer, counters: Counter[str]) -> None:
        """Tell the kernel the sessions, and note what it forwarded. Raises `ApplianceError`."""
        if self._kernel is None:
            return
        before, self._pairs = self._pairs, wanted_pairs(server)
        for vni, traffic in self._kernel.keep(self._pairs).items():
            pair = self._pairs.get(vni) or before.get(vni)
            if pair is not None:
                way = (family(pair.first),) * 2
                self.packets[way] += traffic.packets
                self.bytes[way] += traffic.bytes
            if traffic.dropped:
                counters["over_rate"] += traffic.dropped
            session = server.session(vni)
            if session is not None:
                _note(session, traffic)


def _note(session: Session, traffic: PairTraffic) -> None:
    """A session lives by what the kernel saw of it as well."""
    session.packets += traffic.packets
    session.bytes += traffic.bytes
    for leg, seen in zip(session.legs, (traffic.first_seen, traffic.second_seen), strict=True):
        leg.last_seen = max(leg.last_seen, seen)


class KernelService:
    """Has the kernel forward while the port is open and the setting wants it; else the socket's reader does all."""

    name = "kernel"

    def __init__(self, host: HostHandle, relay: Relay) -> None:
        self._host = host
        self._relay = relay
        self._port = 0
        self._wait = 0

    async def run(self) -> NoReturn:
        try:
            while True:
                await self._tick()
                await self._host.sleep(TICK_S)
        finally:
            self._port = 0
            self._relay.kernel.stop(NOT_LISTENING)

    async def _tick(self) -> None:
        kernel = self._relay.kernel
        wanted = self._relay.config.kernel
        port = self._relay.ports[0].port if self._relay.ports and wanted else 0
        if not port or port != self._port:
            kernel.stop(NOT_LISTENING if wanted else SWITCHED_OFF)
            self._port, self._wait = port, 0
        if not port:
            return
        try:
            await self._open(port)
            kernel.follow(self._relay.server, self._relay.forwarder.counters)
        except ApplianceError as error:
            kernel.stop(error.text)
            self._wait = RETRY_TICKS
            await self._host.log(LogLevel.INFO, "not_in_kernel", {"reason": error.text})

    async def _open(self, port: int) -> None:
        """Again and again where it is refused: the root helper may start later."""
        self._wait -= self._wait > 0
        if self._relay.kernel.is_on or self._wait:
            return
        self._relay.kernel.use(await self._host.relay_in_kernel(port))
        await self._host.log(LogLevel.INFO, "in_kernel", {"port": port})
