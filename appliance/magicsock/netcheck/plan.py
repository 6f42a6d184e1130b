"""Which STUN probes a netcheck sends, and when (derp spec 9.3, 9.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from appliance.magicsock.netcheck.report import Report
from appliance.types.addresses import literal
from appliance.types.ids import RegionId
from appliance.types.netmap import DerpMap, DerpNode, DerpRegion

INITIAL_TRIES = 3
INITIAL_STEP_S = 0.1
NEAREST_REGIONS = 3
UNKNOWN_BASE_S = 0.2
LATENCY_FACTOR = 1.2
LATE_TRY_STEP_S = 0.05
DEFAULT_STUN_PORT = 3478


@dataclass(frozen=True, slots=True)
class Probe:
    """One STUN request to be sent `delay_s` after the start."""

    region: RegionId
    node: DerpNode
    v6: bool
    delay_s: float


@dataclass(frozen=True, slots=True)
class ProbeSet:
    """Probes of one region and family in order of delay; an answer to one makes the rest needless."""

    region: RegionId
    v6: bool
    probes: tuple[Probe, ...]


def node_speaks(node: DerpNode, v6: bool) -> bool:
    """Whether the node may have the family: a literal of it, or an empty field (DNS)."""
    text = node.ipv6 if v6 else node.ipv4
    address = literal(text)
    return not text or (address is not None and address.version == (6 if v6 else 4))


def measurable(region: DerpRegion) -> bool:
    return bool(region.nodes) and not region.no_measure_no_home


def initial_plan(derp_map: DerpMap, have_v4: bool, have_v6: bool) -> tuple[ProbeSet, ...]:
    """Every measurable region, three tries 100 ms apart, one set per family."""
    sets = []
    for region in filter(measurable, derp_map):
        for v6, have in ((False, have_v4), (True, have_v6)):
            tries = [(region.nodes[n % len(region.nodes)], n * INITIAL_STEP_S) for n in range(INITIAL_TRIES)]
            probes = tuple(Probe(region.id, node, v6, delay) for node, delay in tries if node_speaks(node, v6))
            if have and probes:
                sets.append(ProbeSet(region.id, v6, probes))
    return tuple(sets)


def incremental_plan(
    derp_map: DerpMap, have_v4: bool, have_v6: bool, last: Report, home: RegionId
) -> tuple[ProbeSet, ...]:
    """The three nearest regions of the last report and home; tries spaced by what the last latency suggests."""
    if not last.region_latency:
        return initial_plan(derp_map, have_v4, have_v6)
    sets: list[ProbeSet] = []
    for rank, region in enumerate(_ranked(derp_map, last.region_latency, home)):
        if rank >= NEAREST_REGIONS and region.id != home:
            continue
        sets.extend(_region_sets(region, rank, have_v4, have_v6, last, region.id == home))
    return tuple(sets)


def _ranked(derp_map: DerpMap, latency: Mapping[RegionId, float], home: RegionId) -> list[DerpRegion]:
    regions = [region for region in derp_map if measurable(region) and (not region.avoid or region.id == home)]
    return sorted(regions, key=lambda region: (latency.get(region.id, float("inf")), region.id))


def _families(rank: int, have_v4: bool, have_v6: bool, last: Report, is_home: bool) -> tuple[bool, bool]:
    """Whether v4 and v6 are probed; far regions take turns."""
    if is_home or rank < 2:
        return have_v4, have_v6
    had_v4, had_v6 = bool(last.region_v4_latency), bool(last.region_v6_latency)
    if had_v4 and had_v6:
        even = rank % 2 == 0
        return have_v4 and even, have_v6 and not even
    return have_v4, have_v6 and had_v6


def _region_sets(
    region: DerpRegion, rank: int, have_v4: bool, have_v6: bool, last: Report, is_home: bool
) -> list[ProbeSet]:
    tries = 4 if is_home else 2 if rank < 2 else 1
    known = last.region_latency.get(region.id)
    base = LATENCY_FACTOR * known if known else UNKNOWN_BASE_S
    sets = []
    for v6, wanted in zip((False, True), _families(rank, have_v4, have_v6, last, is_home), strict=True):
        family_tries = 1 if v6 and not last.region_v6_latency else tries
        delays = [n * base + (n * LATE_TRY_STEP_S if n >= 2 else 0.0) for n in range(family_tries)]
        nodes = [region.nodes[n % len(region.nodes)] for n in range(family_tries)]
        probes = tuple(
            Probe(region.id, node, v6, delay)
            for node, delay in zip(nodes, delays, strict=True)
            if node_speaks(node, v6)
        )
        if wanted and probes:
            sets.append(ProbeSet(region.id, v6, probes))
    return sets
