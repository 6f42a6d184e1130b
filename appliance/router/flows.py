"""Which flows that peers have opened may go on under a new model, and which must end (node-os spec 1.5), pure.

The packet filter lets packets of a known flow pass without a look at the rules, so a flow must be forgotten when its
rule is withdrawn. The kernel may know 100,000 of them: only sources that lost something are looked at, by bisection.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from appliance.ports.conntrack import Flow
from appliance.router.compile import TSMP, CompiledFilter, FamilyFilter
from appliance.router.destinations import ICMP, PORT_PROTOCOLS, Destinations, Element
from appliance.router.explain import ICMP_OPEN_TYPES
from appliance.router.locals import local_destinations
from appliance.router.model import RouterModel
from appliance.router.ranges import LAST, Interval, lost, merge, prefix_interval, subtract
from appliance.types.ordered_prefixes import prefix_set

TCP = 6
_BEYOND = (1 << 129, 1 << 129)


@dataclass(frozen=True, slots=True)
class _Family:
    """What a model opens, for one IP version."""

    local: list[Interval]
    peerapi: frozenset[tuple[int, int]]
    filtered: FamilyFilter

    def opens(self, flow: Flow) -> bool:
        """Whether a rule does."""
        found = self.filtered.pieces.at_or_before(flow.source)
        return found is not None and found[1].last >= flow.source and _opens(found[1].opens, flow)


class Openings:
    """What one model lets peers open."""

    def __init__(self, model: RouterModel, compiled: CompiledFilter) -> None:
        self._sources = None if model.sources is None else prefix_set(model.sources)
        self._families = {family.version: _family(model, family) for family in compiled.families}

    def allow(self, flow: Flow) -> bool:
        """The verdict on the first packet of the flow, were it to come now."""
        family = self._families[flow.version]
        if not _within(family.local, flow.destination):
            return False
        if self._sources is not None and not self._sources.covers(flow.version, flow.source):
            return False
        if flow.protocol == TSMP or flow.icmp_type in ICMP_OPEN_TYPES[flow.version]:
            return True
        if flow.protocol == TCP and (flow.destination, flow.destination_port) in family.peerapi:
            return True
        return family.opens(flow)

    def lost_since(self, former: Openings) -> dict[int, list[Interval]]:
        """Sources, by IP version, that could open something then which they perhaps cannot now."""
        lost = {
            version: _lost(family, self._families[version]) + self._let_in_no_more(former, version)
            for version, family in former._families.items()
        }
        return {version: merge(intervals) for version, intervals in lost.items()}

    def _let_in_no_more(self, former: Openings, version: int) -> list[Interval]:
        if self._sources is None:
            return []
        if former._sources is None:
            return [(0, LAST[version])]
        gone, _fresh = self._sources.difference(former._sources)
        return [prefix_interval(prefix) for prefix in gone if prefix.version == version]


class Withdrawals:
    """Gathers, from model to model, the sources that lost something, until somebody looks for their flows.

    What one model opened and the next one withdrew is among it, whenever that is.
    """

    def __init__(self) -> None:
        self._openings: Openings | None = None
        self._lost: dict[int, list[Interval]] = {}

    def follow(self, openings: Openings) -> bool:
        """Whether there are flows to be looked for now. After the first model: all."""
        if self._openings is None:
            self.look_at_all()
        else:
            for version, intervals in openings.lost_since(self._openings).items():
                self._lost[version] = merge([*self._lost.get(version, ()), *intervals])
        self._openings = openings
        return any(self._lost.values())

    def look_at_all(self) -> None:
        self._lost = {version: [(0, last)] for version, last in LAST.items()}

    def take(self) -> Callable[[Flow], bool]:
        """Tells the flows that are to end; what is withdrawn from now on is gathered anew."""
        lost, self._lost = self._lost, {}
        now = self._openings
        return lambda flow: _within(lost.get(flow.version, ()), flow.source) and not (now and now.allow(flow))

    def still_to_end(self, flows: Iterable[Flow]) -> list[Flow]:
        """Without those that are allowed again meanwhile."""
        now = self._openings
        return [flow for flow in flows if not (now and now.allow(flow))]


def _family(model: RouterModel, filtered: FamilyFilter) -> _Family:
    version = filtered.version
    return _Family(
        local=local_destinations(model, version),
        peerapi=frozenset(
            (int(ip_address(item.ip)), item.port) for item in model.peerapi if item.is_v6 == (version == 6)
        ),
        filtered=filtered,
    )


def _lost(former: _Family, now: _Family) -> list[Interval]:
    if subtract(former.local, now.local) or former.peerapi - now.peerapi:
        return [(0, LAST[now.filtered.version])]
    gone, fresh = now.filtered.classes.difference(former.filtered.classes)
    held = dict(fresh.values())
    return [item for destinations, intervals in gone.values() for item in lost(intervals, held.get(destinations, ()))]


def _within(intervals: Sequence[Interval], value: int) -> bool:
    at = bisect_right(intervals, (value, _BEYOND[0])) - 1
    return at >= 0 and value <= intervals[at][1]


def _opens(destinations: Destinations, flow: Flow) -> bool:
    if flow.protocol == ICMP[flow.version]:
        return _within(destinations.icmp, flow.destination)
    if flow.protocol in PORT_PROTOCOLS:
        return any(_covers(layer, flow) for layer in destinations.layers)
    at = bisect_right(destinations.whole, (flow.protocol, (flow.destination, _BEYOND[1]))) - 1
    if at < 0:
        return False
    protocol, (_first, last) = destinations.whole[at]
    return protocol == flow.protocol and flow.destination <= last


def _covers(layer: Sequence[Element], flow: Flow) -> bool:
    """Elements of one layer share addresses only where they are equal."""
    at = bisect_right(layer, (flow.protocol, (flow.destination, _BEYOND[1]), _BEYOND)) - 1
    while at >= 0:
        protocol, (first, last), ports = layer[at]
        if protocol != flow.protocol or last < flow.destination:
            return False
        if ports[0] <= flow.destination_port <= ports[1]:
            return True
        if at and layer[at - 1][1] != (first, last):
            return False
        at -= 1
    return False
