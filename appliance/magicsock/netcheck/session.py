"""Netchecks one after the other: names, plan, STUN run, HTTPS where UDP is silent, report (derp spec 9.1 to 9.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from appliance.magicsock.netcheck.captive import LIMIT_S as CAPTIVE_LIMIT_S
from appliance.magicsock.netcheck.captive import captive_probes
from appliance.magicsock.netcheck.plan import DEFAULT_STUN_PORT, incremental_plan, initial_plan, measurable
from appliance.magicsock.netcheck.report import Report
from appliance.magicsock.netcheck.run import NetcheckRun
from appliance.magicsock.outbox import FindCaptivePortal, MeasureHttps, Outbox, ResolveNames, SendDatagram
from appliance.magicsock.timing import NEVER
from appliance.proto.stun import BindingResponse
from appliance.types.addresses import Address, AddrPort, literal
from appliance.types.ids import NO_REGION, RegionId
from appliance.types.netmap import DerpMap, DerpNode

FULL_INTERVAL_S = 300.0
OVERALL_LIMIT_S = 5.0
NAMES_LIMIT_S = 1.5
NAMES_FRESH_S = 300.0
CAPTIVE_DELAY_S = 0.2
"""A full run without a STUN answer so long looks for a captive portal."""


@dataclass(frozen=True, slots=True)
class Families:
    """Which IP versions this host can use toward the Internet."""

    v4: bool = True
    v6: bool = False
    os_v6: bool = False


class NetcheckSession:
    """At most one run at a time. `finished` holds the report of a run that just ended until it is taken."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._map = DerpMap()
        self._families = Families()
        self._home = NO_REGION
        self._last: Report | None = None
        self._last_full = NEVER
        self._full = False
        self._started = 0.0
        self._names: dict[str, tuple[float, tuple[Address, ...]]] = {}
        self._names_until: float | None = None
        self._run: NetcheckRun | None = None
        self._https_waiting: set[RegionId] = set()
        self._https: dict[RegionId, float] = {}
        self._icmp: dict[RegionId, float] = {}
        self._https_until: float | None = None
        self._captive_at: float | None = None
        self._captive_until: float | None = None
        self._captive: bool | None = None
        self._finished: Report | None = None

    @property
    def running(self) -> bool:
        return self._names_until is not None or self._run is not None

    @property
    def last(self) -> Report | None:
        return self._last

    @property
    def partial(self) -> Report | None:
        """What the present run knows already, None before its first answer."""
        return self._run.report() if self._run is not None and self._run.any_answer else None

    def stun_servers(self) -> tuple[AddrPort, ...]:
        """IPv4 addresses of the map's STUN servers as far as they are known, one of each region before the others."""
        rows = [[self._stun_address(node, v6=False) for node in region.nodes] for region in self._map]
        found = [address for column in zip_longest(*rows) for address in column if address is not None]
        return tuple(dict.fromkeys(found))

    def start(self, derp_map: DerpMap, families: Families, home: RegionId, now: float, *, full: bool = False) -> None:
        """Begin a run; a full one forgets the last report for its plan."""
        self._map, self._families, self._home, self._started = derp_map, families, home, now
        was_captive = self._last is not None and not self._last.udp and bool(self._last.captive_portal)
        self._full = full or self._last is None or now - self._last_full > FULL_INTERVAL_S or was_captive
        self._https.clear()
        self._icmp.clear()
        self._captive_at = self._captive_until = self._captive = None
        missing = self._missing_names(now)
        if missing:
            self._names_until = now + NAMES_LIMIT_S
            self._outbox.emit(ResolveNames(missing))
        else:
            self._probe(now)

    def abort(self) -> None:
        """The network under the run is gone."""
        self._run = None
        self._names_until = self._https_until = None
        self._captive_at = self._captive_until = None

    def _missing_names(self, now: float) -> tuple[str, ...]:
        names: dict[str, None] = {}
        for region in filter(measurable, self._map):
            for node in region.nodes:
                if (not node.ipv4 and self._families.v4) or (not node.ipv6 and self._families.v6):
                    names[node.host_name] = None
        known = self._names
        return tuple(n for n in names if n and (n not in known or now - known[n][0] > NAMES_FRESH_S))

    def receive_names(self, addresses: Mapping[str, Sequence[Address]], now: float) -> None:
        """Answer to `ResolveNames`; names that do not resolve have no addresses."""
        for name, found in addresses.items():
            self._names[name] = (now, tuple(found))
        if self._names_until is not None:
            self._probe(now)

    def _probe(self, now: float) -> None:
        self._names_until = None
        f = self._families
        if self._full or self._last is None:
            plan = initial_plan(self._map, f.v4, f.v6)
        else:
            plan = incremental_plan(self._map, f.v4, f.v6, self._last, self._home)
        self._captive_at = now + CAPTIVE_DELAY_S if self._full else None
        self._run = NetcheckRun(plan, self._addresses(), self._outbox.randomness, now, full=self._full)
        self.handle_timer(now)

    def _addresses(self) -> dict[tuple[str, bool], AddrPort]:
        found: dict[tuple[str, bool], AddrPort] = {}
        for region in self._map:
            for node in region.nodes:
                for v6 in (False, True):
                    address = self._stun_address(node, v6)
                    if address is not None:
                        found[node.name, v6] = address
        return found

    def _stun_address(self, node: DerpNode, v6: bool) -> AddrPort | None:
        if node.stun_port < 0:
            return None
        port = node.stun_port or DEFAULT_STUN_PORT
        text = node.ipv6 if v6 else node.ipv4
        if text:
            address = literal(text)  # None for words such as `none`
            return AddrPort(text, port) if address and address.version == (6 if v6 else 4) else None
        _, resolved = self._names.get(node.host_name, (0.0, ()))
        return next((AddrPort(str(a), port) for a in resolved if (a.version == 6) == v6), None)

    def receive(self, response: BindingResponse, now: float) -> bool:
        """A STUN answer. Whether it was expected."""
        if self._run is None or not self._run.receive(response, now):
            return False
        self.handle_timer(now)
        return True

    def receive_https(self, region: RegionId, latency_s: float | None, now: float) -> None:
        """Answer to `MeasureHttps`, None when the region failed."""
        if region in self._https_waiting:
            self._https_waiting.discard(region)
            if latency_s is not None:
                self._https[region] = latency_s
            self.handle_timer(now)

    def receive_icmp(self, region: RegionId, latency_s: float) -> None:
        """ICMP echo of a region, infinite when none came; before the `receive_https` of that region."""
        if region in self._https_waiting:
            self._icmp[region] = latency_s

    def receive_captive(self, captive: bool | None, now: float) -> None:
        """Answer to `FindCaptivePortal`, None when nothing could be found out."""
        if self._captive_until is not None:
            self._captive_until = None
            self._captive = captive
            self.handle_timer(now)

    def next_timer(self) -> float | None:
        if self._names_until is not None:
            return self._names_until
        if self._https_until is not None:
            return self._https_until
        if self._run is None:
            return None
        due = self._run.next_timer()
        return due if self._captive_at is None else min(due, self._captive_at)

    def handle_timer(self, now: float) -> None:
        if self._names_until is not None and now >= self._names_until:
            self._probe(now)
            return
        run = self._run
        if run is None:
            return
        if self._https_until is None:
            self._look_for_portal(run, now)
            for to, request in run.handle_timer(now):
                self._outbox.emit(SendDatagram(to, request))
            if run.done(now) and not self._fall_back(run, now):
                self._finish(run, now)
        elif (not self._https_waiting and self._captive_until is None) or now >= self._https_until:
            self._finish(run, now)

    def _look_for_portal(self, run: NetcheckRun, now: float) -> None:
        if self._captive_at is None or now < self._captive_at:
            return
        self._captive_at = None
        probes = captive_probes(self._map, self._home)
        if probes and not run.any_answer:
            self._captive_until = now + CAPTIVE_LIMIT_S
            self._outbox.emit(FindCaptivePortal(tuple(probe.host for probe in probes)))

    def _fall_back(self, run: NetcheckRun, now: float) -> bool:
        """No UDP answer at all: measure by HTTPS where that may be a home. Whether there is something to wait for."""
        if run.any_answer:
            return False
        regions = tuple(
            region.id
            for region in self._map
            if measurable(region) and not region.avoid and any(not node.stun_only for node in region.nodes)
        )
        if not regions and self._captive_until is None:
            return False
        self._https_waiting = set(regions)
        self._https_until = max(now, self._started + OVERALL_LIMIT_S)
        if regions:
            self._outbox.emit(MeasureHttps(regions))
        return True

    def _finish(self, run: NetcheckRun, now: float) -> None:
        report = run.report(self._https, self._icmp, self._families.os_v6, self._captive)
        if self._full:
            self._last_full = now
        self._run = None
        self._https_until = self._captive_at = self._captive_until = None
        self._https_waiting.clear()
        self._last = self._finished = report

    def take_finished(self) -> Report | None:
        report, self._finished = self._finished, None
        return report
