"""Where this node is: netchecks in time, own endpoints, home region, and what of it is announced.

Re-STUN triggers: magicsock-disco spec 3.12; home: derp spec 7.4. Runs never overlap; one more may be queued.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from appliance.magicsock.context import PathContext
from appliance.magicsock.endpoints import OwnEndpoints
from appliance.magicsock.netcheck.home import HomeChooser, LastFrameAt
from appliance.magicsock.netcheck.plan import measurable
from appliance.magicsock.netcheck.report import NetcheckDone, Report
from appliance.magicsock.netcheck.session import NetcheckSession
from appliance.magicsock.outbox import Publish, ReadInterfaces, SetHome
from appliance.magicsock.status import NetInfo, NetInfoChanged, PortMappingSeen
from appliance.magicsock.timing import (
    ENDPOINTS_DOUBTFUL,
    ENDPOINTS_FRESH,
    ENDPOINTS_WAIT,
    NEVER,
    RESTUN_MAX,
    RESTUN_MIN,
    SESSION_ACTIVE_TIMEOUT,
)
from appliance.proto.stun import BindingResponse
from appliance.types.addresses import Address, AddrPort
from appliance.types.events import EndpointsChanged, HomeDerpChanged
from appliance.types.ids import NO_REGION, RegionId
from appliance.types.netmap import DerpMap, Endpoint


class Locator:
    """`endpoints_news` tells the owner, after each event, that own endpoints were determined anew."""

    def __init__(self, context: PathContext, last_frame_at: LastFrameAt) -> None:
        self._context = context
        self._outbox = context.outbox
        self._last_frame_at = last_frame_at
        self._session = NetcheckSession(context.outbox)
        self._chooser = HomeChooser()
        self.own = OwnEndpoints(context.is_overlay)
        self._map: DerpMap | None = None
        self._endpoints: tuple[Endpoint, ...] | None = None
        self._endpoints_at = NEVER
        self._first_endpoints_at: float | None = None
        self._periodic_at: float | None = None
        self._last_active = NEVER
        self._queued: bool | None = None
        self._run_number = 0
        self._told_net_info: NetInfo | None = None
        self._mapping = PortMappingSeen()
        self._control_connected = True
        self._network_up = True
        self._answered = False
        self.endpoints_news = False
        self.home: RegionId = NO_REGION
        self.has_peers = False

    # What is known

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return self._endpoints or ()

    @property
    def report(self) -> Report | None:
        return self._session.last

    def stun_servers(self) -> tuple[AddrPort, ...]:
        """IPv4 addresses of the STUN servers of the map, as far as they are known; different addresses first."""
        return self._session.stun_servers()

    def fresh(self, now: float) -> bool:
        """Whether own endpoints are young enough for a call-me-maybe."""
        return now - self._endpoints_at <= ENDPOINTS_FRESH

    def net_info(self) -> NetInfo:
        return self._mapping.told_in((self.report or Report()).net_info(self.home))

    # Input

    def set_derp_map(self, derp_map: DerpMap, now: float) -> None:
        if derp_map == self._map:
            return
        self._map = derp_map
        if self.home and self.home not in derp_map.regions:
            self._chooser.preferred = NO_REGION
            self._set_home(NO_REGION)
        if not self.home:
            self._only_region()
        self.restun(now)

    def _only_region(self) -> None:
        """With one region there is nothing to measure before calling it home."""
        regions = [region.id for region in self._map or () if measurable(region)]
        if len(regions) == 1:
            self._chooser.preferred = regions[0]
            self._set_home(regions[0])

    def set_port_mapping(self, mapping: PortMappingSeen, now: float) -> None:
        """What the router gave is offered at once where endpoints are known already, else with the first of them."""
        moved = mapping.external != self._mapping.external
        self._mapping = mapping
        self.own.set_port_mapped((mapping.external,) if mapping.external is not None else ())
        if moved and self._endpoints is not None:
            self.determine(now, fresh=False)
            self.restun(now)
        if self._told_net_info is not None:
            self._tell_net_info()

    def set_control_connected(self, connected: bool) -> None:
        """While control cannot be told, home does not move (7.4)."""
        self._control_connected = connected

    def receive_interfaces(self, addresses: Sequence[Address], ports: Sequence[AddrPort]) -> None:
        self.own.set_interfaces(addresses, ports)
        self._network_up = any(not address.is_loopback for address in addresses)

    def link_changed(self, major: bool, now: float) -> None:
        if major:
            self.own.forget_mappings()
            self._session.abort()
            self._queued = None
            self._endpoints_at = NEVER
        self.restun(now, full=major)

    def active(self, now: float) -> None:
        """A peer session has traffic: keep endpoints fresh for a while."""
        self._last_active = now
        if self._periodic_at is None:
            self._plan_periodic(now)

    def restun(self, now: float, *, full: bool = False) -> int:
        """Measure now, or once more after the run that goes on. Returns the number of the run that will do it."""
        if self._session.running:
            self._queued = full or bool(self._queued)
            return self._run_number + 1
        if self._map is None or self._context.node_key is None:
            return self._run_number + 1
        self._outbox.emit(ReadInterfaces())
        self._queued = full
        return self._run_number + 1

    def refresh(self, now: float) -> None:
        """Endpoints are stale: measure, unless that is going on."""
        if not self._session.running:
            self.restun(now)

    def doubt(self, now: float) -> None:
        """A path died: endpoints that are not quite new may be wrong, so the next call-me-maybe measures first."""
        if now - self._endpoints_at > ENDPOINTS_DOUBTFUL:
            self._endpoints_at = NEVER

    def start_queued(self, now: float) -> None:
        """Begin the run that was asked for, once interfaces are read."""
        if self._queued is None or self._session.running or self._map is None:
            return
        full, self._queued = self._queued, None
        self._run_number += 1
        self._periodic_at = None
        self._answered = False
        if self._endpoints is None:
            self._first_endpoints_at = now + ENDPOINTS_WAIT
        self._session.start(self._map, self.own.families(), self.home, now, full=full)
        self._after_session(now)

    def receive_stun(self, response: BindingResponse, now: float) -> bool:
        known = self._session.receive(response, now)
        if known:
            self._after_session(now)
        return known

    def receive_names(self, addresses: Mapping[str, Sequence[Address]], now: float) -> None:
        self._session.receive_names(addresses, now)
        self._after_session(now)

    def receive_https(self, region: RegionId, latency_s: float | None, now: float) -> None:
        self._session.receive_https(region, latency_s, now)
        self._after_session(now)

    def receive_icmp(self, region: RegionId, latency_s: float) -> None:
        self._session.receive_icmp(region, latency_s)

    def receive_captive(self, captive: bool | None, now: float) -> None:
        self._session.receive_captive(captive, now)
        self._after_session(now)

    # Results

    def _after_session(self, now: float) -> None:
        report = self._session.take_finished()
        if report is not None:
            self._finished(report, now)
            return
        partial = self._session.partial
        if partial is not None and not self._answered:
            self._answered = True
            self.own.set_report(partial)
            if self._endpoints is None or not self.fresh(now):
                self.determine(now)

    def _finished(self, report: Report, now: float) -> None:
        self.own.set_report(report)
        self._choose_home(report, now)
        self.determine(now)
        self._tell_net_info()
        self._outbox.emit(Publish(NetcheckDone(self._run_number, report)))
        self._plan_periodic(now)
        if self._queued is not None:
            self._outbox.emit(ReadInterfaces())

    def _plan_periodic(self, now: float) -> None:
        wanted = self.has_peers and self._network_up and now - self._last_active < SESSION_ACTIVE_TIMEOUT
        self._periodic_at = now + self._outbox.randomness.uniform(RESTUN_MIN, RESTUN_MAX) if wanted else None

    def determine(self, now: float, *, fresh: bool = True) -> None:
        """Compute own endpoints, announce them when the set changed; `fresh` = STUN has spoken or given up."""
        self._first_endpoints_at = None
        if fresh:
            self._endpoints_at = now
            self.endpoints_news = True
        endpoints = self.own.determine(now)
        if self._endpoints is None or set(endpoints) != set(self._endpoints):
            self._outbox.emit(Publish(EndpointsChanged(endpoints)))
        self._endpoints = endpoints

    def _choose_home(self, report: Report, now: float) -> None:
        if self._map is None:
            return
        before = self._chooser.preferred
        chosen = self._chooser.choose(report, now, self._last_frame_at, self._map.region_score)
        if self.home and (not chosen or not self._control_connected):
            self._chooser.preferred = before
            return
        self._set_home(chosen or self._any_region())

    def _any_region(self) -> RegionId:
        """Nothing was measured and there is no home: one by chance, kept until something is known."""
        regions = sorted(region.id for region in self._map or () if measurable(region))
        if not regions:
            return NO_REGION
        self._chooser.preferred = regions[self._outbox.randomness.below(len(regions))]
        return self._chooser.preferred

    def _set_home(self, region: RegionId) -> None:
        if region == self.home:
            return
        self.home = region
        self._outbox.emit(SetHome(region))
        self._outbox.emit(Publish(HomeDerpChanged(region)))
        self._tell_net_info()

    def _tell_net_info(self) -> None:
        info = self.net_info()
        if self._told_net_info is None or not info.says_the_same(self._told_net_info):
            self._told_net_info = info
            self._outbox.emit(Publish(NetInfoChanged(info)))

    # Timers

    def next_timer(self) -> float | None:
        deadlines = (self._session.next_timer(), self._first_endpoints_at, self._periodic_at)
        return min((at for at in deadlines if at is not None), default=None)

    def handle_timer(self, now: float) -> None:
        if self._first_endpoints_at is not None and now >= self._first_endpoints_at:
            self.determine(now, fresh=False)
        due = self._session.next_timer()
        if due is not None and now >= due:
            self._session.handle_timer(now)
            self._after_session(now)
        if self._periodic_at is not None and now >= self._periodic_at:
            self._periodic_at = None
            if now - self._last_active < SESSION_ACTIVE_TIMEOUT:
                self.restun(now)
