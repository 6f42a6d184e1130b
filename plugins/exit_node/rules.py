"""Pure rules of exits (node-os spec 2.3): who is one, which one is meant, which one is best."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from appliance.api import EgressGuard, NodeInfo, OfferedRoutes, PeerState, RouteSelection
from appliance.types.location import Location, distance_km
from plugins.exit_node.config import AUTO, ExitNodeConfig

DEFAULTS = ("0.0.0.0/0", "::/0")
SUGGEST = "suggest-exit-node"
"""Node capability by which the policy marks exits that may be suggested."""
FARTHEST_KM = 30_000.0
"""Stands for a distance that nobody knows: farther than any on earth."""
UNMEASURED_S = 10.0
"""Stands for a latency that nobody knows: after every measured one."""


@dataclass(frozen=True, slots=True)
class Exit:
    """A peer that offers a default route. `routes` are those of `DEFAULTS` that it serves."""

    stable_id: str
    name: str
    addresses: tuple[str, ...]
    routes: tuple[str, ...]
    online: bool | None = None
    marked: bool = False
    """The policy lets it be suggested."""
    location: Location = field(default_factory=Location)

    @property
    def short_name(self) -> str:
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Measure:
    """`region` is the code of the exit's home relay; `latency_s` 0: unknown; `direct`: measured on the path in use."""

    region: str = ""
    latency_s: float = 0.0
    direct: bool = False


def exit_of(node: NodeInfo) -> Exit | None:
    """None: it offers no exit."""
    routes = tuple(route for route in DEFAULTS if route in node.routes)
    if not routes:
        return None
    marked = SUGGEST in node.capabilities
    return Exit(node.stable_id, node.name, node.addresses, routes, node.online, marked, node.location or Location())


def places(each: Exit, measure: Measure) -> frozenset[str]:
    """Codes by which its region may be named, in small letters."""
    location = each.location
    found = (measure.region, location.country_code, location.city_code)
    return frozenset(text.lower() for text in found if text)


def is_within(each: Exit, measure: Measure, regions: Collection[str]) -> bool:
    return not regions or not places(each, measure).isdisjoint(region.lower() for region in regions)


def find_exit(exits: Iterable[Exit], wanted: str) -> Exit | None:
    """By stable id, name with or without domain, or address."""
    name = wanted.lower()
    for each in exits:
        if wanted == each.stable_id or name in (each.name.lower(), each.short_name.lower(), *each.addresses):
            return each
    return None


def measures(peers: Iterable[PeerState], wanted: Collection[str], regions_s: Mapping[str, float]) -> dict[str, Measure]:
    """What is known of the exits `wanted`: the latency of the path to it, else that of its home relay."""
    found: dict[str, Measure] = {}
    for peer in peers:
        if peer.stable_id in wanted:
            latency_s = peer.path.latency_s or regions_s.get(peer.home_region, 0.0)
            found[peer.stable_id] = Measure(peer.home_region, latency_s, bool(peer.path.latency_s))
    return found


def suggest(
    exits: Sequence[Exit],
    known: Mapping[str, Measure],
    regions: Collection[str] = (),
    previous: str = "",
    here: Location | None = None,
) -> Exit | None:
    """The exit with the least latency; among those of unknown latency the nearest to `here`, then the one of the
    highest priority; the previous one where it is as good. None: there is none to suggest.

    Only those that the policy marks, where it marks any; only those that are not known to be offline and serve both
    IP versions, where there are such.
    """
    able = [each for each in exits if each.online is not False]
    able = [each for each in able if is_within(each, known.get(each.stable_id, Measure()), regions)]
    able = [each for each in able if each.marked] or able
    able = [each for each in able if len(each.routes) == len(DEFAULTS)] or able

    def rank(each: Exit) -> tuple[float, float, int, bool, str]:
        latency_s = known.get(each.stable_id, Measure()).latency_s
        away_km = distance_km(here, each.location) if here is not None and not latency_s else None
        far = FARTHEST_KM if away_km is None else away_km
        place = -each.location.priority
        return latency_s or UNMEASURED_S, far, place, each.stable_id != previous, each.stable_id

    return min(able, key=rank, default=None)


def is_allowed(chosen: Exit | None, known: Mapping[str, Measure], regions: Collection[str]) -> bool:
    """Whether an automatic choice may stay where it is; while its region is not known it may."""
    if chosen is None or not regions:
        return True
    measure = known.get(chosen.stable_id, Measure())
    return not measure.region or is_within(chosen, measure, regions)


def is_lost(chosen: Exit | None) -> bool:
    """Whether nothing can leave by it now."""
    return chosen is None or chosen.online is False


def in_use(config: ExitNodeConfig, exits: Mapping[str, Exit], picked: str) -> Exit | None:
    """The exit that the settings mean now; `picked` is the automatic choice's stable id."""
    if config.use == AUTO:
        return exits.get(picked)
    return find_exit(exits.values(), config.use) if config.use else None


def guard_of(config: ExitNodeConfig) -> EgressGuard | None:
    """None: no exit is wanted."""
    if not config.use:
        return None
    who = config.hosts, config.not_hosts
    return EgressGuard(config.lan_access, config.site, *who, config.direct, config.gateway_direct)


def select_exit(offered: OfferedRoutes, chosen: Exit | None) -> RouteSelection | None:
    """Accept what the chosen exit offers, from it alone. None: no exit is in use."""
    if chosen is None:
        return None
    via = tuple(each for prefix in DEFAULTS for each in offered.of(prefix) if each.stable_id == chosen.stable_id)
    return RouteSelection({each.prefix: "" for each in via}, via=via)
