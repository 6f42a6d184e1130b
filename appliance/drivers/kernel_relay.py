"""`KernelRelay` on Linux: the relay's program at the devices of its pairs, its maps, and the ways to the peers.

The program is made here where that is allowed, else by the root helper, which hands its descriptors over.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from appliance.bpf import calls
from appliance.bpf.relay_loader import NAME, RelayDescriptors, load_relay
from appliance.bpf.relay_records import KEY, LEASE, PAIR_SIZE, Counts, LegRecord, PairRecord, pack_pair, parse_counts
from appliance.drivers.helper import HelperError
from appliance.drivers.traffic_control import attach, detach, detach_everywhere
from appliance.drivers.underlay_route import UnderlayRoutes, WayOut
from appliance.ports.kernel_relay import LEASE_S, KernelRelayError, PairTraffic, RelayPair
from appliance.types.addresses import AddrPort

ByHelper = Callable[[int, int], Awaitable[RelayDescriptors]]
"""Port and mark in, descriptors out. Raises `HelperError`."""
LOOK_AGAIN = 30
"""Calls of `keep` after which every way is looked up anew, whatever was announced."""
_NS = 1_000_000_000
_LOOPBACK = "lo"
_NOTHING = Counts((0, 0), (0, 0), (0, 0), 0)


@dataclass(slots=True)
class _Kept:
    pair: RelayPair
    ways: tuple[WayOut, WayOut]
    told: Counts = _NOTHING


async def open_kernel_relay(port: int, mark: int, by_helper: ByHelper | None) -> LinuxKernelRelay:
    """For the relay at UDP `port`, whose packets carry `mark`. Raises `KernelRelayError`."""
    try:
        descriptors = load_relay(port, mark)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise KernelRelayError(f"the kernel refuses the program: {error.strerror or error}") from error
        if by_helper is None:
            raise KernelRelayError("this process may not load a program into the kernel") from error
        try:
            descriptors = await by_helper(port, mark)
        except HelperError as refused:
            raise KernelRelayError(refused.text, mend=refused.mend) from refused
    return LinuxKernelRelay(port, mark, descriptors)


class LinuxKernelRelay:
    """Owns `descriptors`. Removes what a killed run left. Raises `KernelRelayError` where no device takes a program."""

    def __init__(self, port: int, mark: int, descriptors: RelayDescriptors) -> None:
        self._port = port
        self._descriptors = descriptors
        self._kept: dict[int, _Kept] = {}
        self._ended: dict[int, PairTraffic] = {}
        self._devices: set[int] = set()
        self._calls = 0
        try:
            detach_everywhere(NAME)
            self._try_loopback()
            self._routes = UnderlayRoutes(mark)
        except OSError as error:
            descriptors.close()
            raise KernelRelayError(f"no device takes the program: {error.strerror or error}") from error

    def _try_loopback(self) -> None:
        """Whether the kernel has what a device needs; without a lease the program does nothing. Raises `OSError`."""
        index = socket.if_nametoindex(_LOOPBACK)
        attach(index, self._descriptors.program, NAME)
        detach(index, NAME)

    @property
    def serving(self) -> int:
        return len(self._kept)

    def keep(self, pairs: Mapping[int, RelayPair]) -> Mapping[int, PairTraffic]:
        try:
            for vni in [vni for vni, kept in self._kept.items() if pairs.get(vni) != kept.pair]:
                self.forget(vni)
            self._follow_routes()
            for vni in [vni for vni in pairs if vni not in self._kept]:
                self._put(vni, pairs[vni])
            self._follow_devices()
            self._renew(time.monotonic_ns() + int(LEASE_S * _NS))
            return self._traffic()
        except OSError as error:
            raise KernelRelayError(f"the kernel forwards no longer: {error.strerror or error}") from error

    def _follow_routes(self) -> None:
        """Pairs whose ways changed are put anew."""
        self._calls += 1
        if not self._routes.changed() and self._calls % LOOK_AGAIN:
            return
        for vni, kept in list(self._kept.items()):
            if self._ways(kept.pair) != kept.ways:
                self.forget(vni)

    def _ways(self, pair: RelayPair) -> tuple[WayOut, WayOut] | None:
        if pair.first.is_v6 != pair.second.is_v6:
            return None
        first, second = (self._routes.way(side.address) for side in (pair.first, pair.second))
        return (first, second) if first is not None and second is not None else None

    def _put(self, vni: int, pair: RelayPair) -> None:
        ways = self._ways(pair)
        if ways is None:
            return
        first, second = (self._leg(side, way) for side, way in zip((pair.first, pair.second), ways, strict=True))
        try:
            record = pack_pair(PairRecord((first, second), pair.bytes_per_s))
            calls.update(self._descriptors.pairs, KEY.pack(vni), record)
        except OSError as error:
            if error.errno not in (errno.E2BIG, errno.ENOMEM):
                raise
            return
        self._kept[vni] = _Kept(pair, ways)

    def _leg(self, side: AddrPort, way: WayOut) -> LegRecord:
        return LegRecord(side, AddrPort(way.source, self._port), way.index, way.mtu)

    def _follow_devices(self) -> None:
        """The program is where the pairs' packets come in, and nowhere else."""
        wanted = {way.index for kept in self._kept.values() for way in kept.ways}
        for index in self._devices - wanted:
            detach(index, NAME)
        self._devices &= wanted
        if self._calls % LOOK_AGAIN == 0:
            self._devices.clear()  # somebody may have cleared a device's filters
        for index in wanted - self._devices:
            attach(index, self._descriptors.program, NAME)
            self._devices.add(index)

    def _renew(self, until_ns: int) -> None:
        calls.update(self._descriptors.lease, KEY.pack(0), LEASE.pack(until_ns))

    def _traffic(self) -> dict[int, PairTraffic]:
        told, self._ended = self._ended, {}
        for vni, kept in self._kept.items():
            news = self._read(vni, kept)
            if news.packets or news.dropped:
                told[vni] = _sum(told[vni], news) if vni in told else news
        return told

    def _read(self, vni: int, kept: _Kept) -> PairTraffic:
        record = calls.look_up(self._descriptors.pairs, KEY.pack(vni), PAIR_SIZE)
        if record is None:
            return PairTraffic()
        before, kept.told = kept.told, parse_counts(record)
        return _difference(kept.told, before)

    def forget(self, vni: int) -> None:
        kept = self._kept.pop(vni, None)
        if kept is None:
            return
        last = self._read(vni, kept)
        calls.delete(self._descriptors.pairs, KEY.pack(vni))
        self._ended[vni] = _sum(self._ended[vni], last) if vni in self._ended else last

    def close(self) -> None:
        """Raises nothing: what cannot be removed forwards no more when the lease is over."""
        try:
            self._renew(0)
            detach_everywhere(NAME)
        except OSError:
            self._devices.clear()
        finally:
            self._kept.clear()
            self._routes.close()
            self._descriptors.close()


def _difference(now: Counts, before: Counts) -> PairTraffic:
    return PairTraffic(
        packets=sum(now.packets) - sum(before.packets),
        bytes=sum(now.bytes) - sum(before.bytes),
        dropped=now.dropped - before.dropped,
        first_seen=now.seen_ns[0] / _NS,
        second_seen=now.seen_ns[1] / _NS,
    )


def _sum(first: PairTraffic, second: PairTraffic) -> PairTraffic:
    """Of one pair; the later times."""
    return PairTraffic(
        first.packets + second.packets,
        first.bytes + second.bytes,
        first.dropped + second.dropped,
        max(first.first_seen, second.first_seen),
        max(first.second_seen, second.second_seen),
    )


def remove_left_programs() -> list[str]:
    """Devices from which a killed run's program was taken. Raises `KernelRelayError`."""
    try:
        return detach_everywhere(NAME)
    except OSError as error:
        raise KernelRelayError(f"a relay's program stays at a device: {error.strerror or error}") from error
