"""What is open to a class of sources: disjoint elements that sets of nftables take, from the destinations of rules.

Pure, no nftables words (node-os spec 1.5).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from appliance.router.ranges import ALL_PORTS, REMEMBERED, Interval, merge
from appliance.types.errors import ApplianceError

TCP, UDP, SCTP = 6, 17, 132
PORT_PROTOCOLS = (TCP, UDP, SCTP)
ICMP = {4: 1, 6: 58}
MAX_DEPTH = 8
MAX_ELEMENTS = 500_000

Element = tuple[int, Interval, Interval]
"""Protocol, addresses, ports."""
Opened = tuple[tuple[tuple[int, Interval, Interval], ...], tuple[int, ...]]
"""Version, addresses and ports of destinations; protocols."""


class FilterError(ApplianceError):
    """The packet filter cannot be compiled; the old one stays."""

    code = "invalid-packet-filter"


@dataclass(frozen=True, slots=True)
class Destinations:
    """What is open to a class: `icmp` addresses, `layers` of disjoint elements, `whole` protocols without ports."""

    icmp: tuple[Interval, ...]
    layers: tuple[tuple[Element, ...], ...]
    whole: tuple[tuple[int, Interval], ...]
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.icmp, self.layers, self.whole)))

    def __hash__(self) -> int:
        """Kept: they are keys, and may hold thousands of elements."""
        return self._hash

    @property
    def size(self) -> int:
        """Number of elements in all."""
        return len(self.icmp) + len(self.whole) + sum(map(len, self.layers))

    @property
    def name(self) -> str:
        """Ten hex digits that name the content, so that equal content keeps its place from one filter to the next."""
        return hashlib.blake2s(repr(self).encode(), digest_size=5).hexdigest()


@lru_cache(maxsize=REMEMBERED)
def destinations_of(version: int, bundles: tuple[Opened, ...]) -> Destinations:
    """Of all rules that a source belongs to. Raises `FilterError` when it would be too large."""
    addresses: list[Interval] = []
    ported: dict[int, dict[Interval, list[Interval]]] = defaultdict(lambda: defaultdict(list))
    whole: dict[int, list[Interval]] = defaultdict(list)
    for entries, protocols in bundles:
        for family, interval, ports in entries:
            if family != version:
                continue
            addresses.append(interval)
            for protocol in protocols:
                if protocol in PORT_PROTOCOLS:
                    ported[protocol][interval].append(ports)
                elif ports == ALL_PORTS and protocol not in ICMP.values():
                    whole[protocol].append(interval)
    return Destinations(
        tuple(merge(addresses)),
        _layers({protocol: _rectangles(by_address) for protocol, by_address in ported.items()}),
        tuple((protocol, interval) for protocol in sorted(whole) for interval in merge(whole[protocol])),
    )


Rectangles = dict[Interval, tuple[Interval, ...]]
"""Addresses to their merged ports."""


def _rectangles(by_address: Mapping[Interval, list[Interval]]) -> Rectangles:
    """Join addresses that have the same ports, then ports of the same addresses."""
    by_ports: dict[tuple[Interval, ...], list[Interval]] = defaultdict(list)
    for interval, ports in by_address.items():
        by_ports[tuple(merge(ports))].append(interval)
    joined: dict[Interval, list[Interval]] = defaultdict(list)
    for same_ports, intervals in by_ports.items():
        for interval in merge(intervals):
            joined[interval] += same_ports
    return {interval: tuple(merge(ports)) for interval, ports in joined.items()}


def _layers(by_protocol: Mapping[int, Rectangles]) -> tuple[tuple[Element, ...], ...]:
    """Sets refuse overlapping elements: addresses that overlap go to different layers (as deep as prefixes nest)."""
    layers: list[list[Element]] = []
    for protocol, rectangles in sorted(by_protocol.items()):
        placed = _placed(rectangles)
        if len(placed) > MAX_DEPTH:
            placed = [_strips(rectangles)]
        for depth, held in enumerate(placed):
            if depth == len(layers):
                layers.append([])
            layers[depth] += [(protocol, addresses, ports) for addresses, many in held.items() for ports in many]
    if sum(map(len, layers)) > MAX_ELEMENTS:
        raise FilterError("the packet filter is too large to install", mend="simplify overlapping policy rules")
    return tuple(tuple(sorted(layer)) for layer in layers)


def _placed(rectangles: Rectangles) -> list[Rectangles]:
    layers: list[Rectangles] = []
    ends: list[int] = []
    for interval in sorted(rectangles, key=lambda item: (item[0], -item[1])):
        depth = next((index for index, end in enumerate(ends) if end < interval[0]), len(ends))
        if depth == len(ends):
            ends.append(-1)
            layers.append({})
        ends[depth] = interval[1]
        layers[depth][interval] = rectangles[interval]
    return layers


def _strips(rectangles: Rectangles) -> Rectangles:
    """The same openings without any overlap: cut at every address boundary, ports united per strip."""
    starts: dict[int, list[Interval]] = defaultdict(list)
    stops: dict[int, list[Interval]] = defaultdict(list)
    for interval in rectangles:
        starts[interval[0]].append(interval)
        stops[interval[1] + 1].append(interval)
    active: set[Interval] = set()
    by_ports: dict[tuple[Interval, ...], list[Interval]] = defaultdict(list)
    boundaries = sorted({*starts, *stops})
    total = 0
    for first, following in pairwise(boundaries):
        active.difference_update(stops[first])
        active.update(starts[first])
        if active:
            ports = tuple(merge(port for interval in active for port in rectangles[interval]))
            by_ports[ports].append((first, following - 1))
            total += len(ports)
        if total > MAX_ELEMENTS:
            raise FilterError("the packet filter is too large to install", mend="simplify overlapping policy rules")
    return {interval: ports for ports, intervals in by_ports.items() for interval in merge(intervals)}
