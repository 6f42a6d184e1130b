"""One netcheck run: sends its plan's probes in time, matches answers, knows when it is done (derp spec 9.5)."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from appliance.magicsock.netcheck.plan import Probe, ProbeSet
from appliance.magicsock.netcheck.report import Report
from appliance.ports.randomness import Randomness
from appliance.proto.stun import TX_ID_SIZE, BindingResponse, encode_request
from appliance.types.addresses import AddrPort
from appliance.types.ids import RegionId

STUN_LIMIT_S = 3.0
ENOUGH_REGIONS = 3

ServerAddresses = Mapping[tuple[str, bool], AddrPort]
"""STUN address by node name and family (True = IPv6); nodes without one are skipped."""


@dataclass(frozen=True, slots=True)
class _InFlight:
    probe: Probe
    to: AddrPort
    at: float


class NetcheckRun:
    """`handle_timer` gives the requests to send; `done` says when no more is to be learned."""

    def __init__(
        self,
        plan: Sequence[ProbeSet],
        addresses: ServerAddresses,
        randomness: Randomness,
        now: float,
        *,
        full: bool,
    ) -> None:
        self._addresses = addresses
        self._randomness = randomness
        self._started = now
        self._full = full
        self._stop_at = now + STUN_LIMIT_S
        self._open = {(probes.region, probes.v6) for probes in plan}
        self._queue = [
            (now + probe.delay_s, order, probe)
            for order, probe in enumerate(probe for probes in plan for probe in probes.probes)
        ]
        heapq.heapify(self._queue)
        self._in_flight: dict[bytes, _InFlight] = {}
        self._v4: dict[RegionId, float] = {}
        self._v6: dict[RegionId, float] = {}
        self._mapped_v4: list[tuple[AddrPort, AddrPort]] = []
        self._global_v6: AddrPort | None = None
        self._counts: Counter[AddrPort] = Counter()
        self._sent_v4 = self._sent_v6 = False
        self._drop_unreachable()

    def _drop_unreachable(self) -> None:
        """Sets of which no node has an address can never answer."""
        reachable = {
            (probe.region, probe.v6) for _, _, probe in self._queue if (probe.node.name, probe.v6) in self._addresses
        }
        self._open &= reachable

    @property
    def any_answer(self) -> bool:
        return bool(self._v4 or self._v6)

    def done(self, now: float) -> bool:
        return not self._open or now >= self._stop_at

    def next_timer(self) -> float:
        return min(self._queue[0][0], self._stop_at) if self._queue else self._stop_at

    def handle_timer(self, now: float) -> list[tuple[AddrPort, bytes]]:
        """Requests that are due, with where they go."""
        requests = []
        while self._queue and self._queue[0][0] <= now:
            _, _, probe = heapq.heappop(self._queue)
            to = self._addresses.get((probe.node.name, probe.v6))
            if (probe.region, probe.v6) not in self._open or to is None:
                continue
            if self._tells_nothing_new(probe):
                self._open.discard((probe.region, probe.v6))
                continue
            tx_id = self._randomness.bytes(TX_ID_SIZE)
            self._in_flight[tx_id] = _InFlight(probe, to, now)
            requests.append((to, encode_request(tx_id)))
            self._sent_v4 |= not probe.v6
            self._sent_v6 |= probe.v6
        return requests

    def _tells_nothing_new(self, probe: Probe) -> bool:
        if probe.region not in self._v4 and probe.region not in self._v6:
            return False
        if probe.v6:
            return bool(self._v6)
        return self._mapping_varies() is not None

    def receive(self, response: BindingResponse, now: float) -> bool:
        """Whether the answer was one of ours; each transaction counts once."""
        sent = self._in_flight.pop(response.tx_id, None)
        if sent is None:
            return False
        region, v6, latency = sent.probe.region, sent.probe.v6, max(0.0, now - sent.at)
        family = self._v6 if v6 else self._v4
        regions_before = len(self._v4.keys() | self._v6.keys())
        family[region] = min(family.get(region, latency), latency)
        self._counts[response.mapped] += 1
        if v6:
            self._global_v6 = response.mapped
        else:
            self._mapped_v4.append((sent.to, response.mapped))
        self._open.discard((region, v6))
        regions = len(self._v4.keys() | self._v6.keys())
        if regions_before < ENOUGH_REGIONS <= regions:
            slowest = max([*self._v4.values(), *self._v6.values()])
            self._stop_at = min(self._stop_at, now + slowest * (2 if self._full else 1))
        return True

    def _mapping_varies(self) -> bool | None:
        """None until two servers have answered over IPv4: one server cannot show a difference."""
        if len({server for server, _ in self._mapped_v4}) < 2:
            return None
        return len({mapped for _, mapped in self._mapped_v4}) > 1

    def report(
        self,
        https: Mapping[RegionId, float] | None = None,
        icmp: Mapping[RegionId, float] | None = None,
        os_has_ipv6: bool = False,
        captive_portal: bool | None = None,
    ) -> Report:
        """What was found so far; `https` and `icmp` (infinite: silent) were measured when no UDP answer came (9.6)."""
        latency = dict(https or {})
        echoes = {region: value for region, value in (icmp or {}).items() if isfinite(value)}
        for family in (self._v4, self._v6, echoes):
            for region, value in family.items():
                latency[region] = min(latency.get(region, value), value)
        return Report(
            started_at=self._started,
            full=self._full,
            udp=self.any_answer,
            ipv4=bool(self._v4 or echoes),
            icmpv4=bool(echoes) if icmp else None,
            ipv6=bool(self._v6),
            ipv4_can_send=self._sent_v4,
            ipv6_can_send=self._sent_v6,
            os_has_ipv6=os_has_ipv6,
            mapping_varies_by_dest_ip=self._mapping_varies(),
            global_v4=self._mapped_v4[0][1] if self._mapped_v4 else None,
            global_v6=self._global_v6,
            global_counts=dict(self._counts),
            region_latency=latency,
            region_v4_latency=dict(self._v4),
            region_v6_latency=dict(self._v6),
            captive_portal=captive_portal,
        )
