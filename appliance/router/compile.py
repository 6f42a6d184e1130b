"""Filter rules to source classes: pure, no nftables words (node-os spec 1.5).

The source space is cut at every boundary of a rule's sources; the pieces that the same destinations are open to form a
class. A packet then costs one lookup of its source and a few of its destination, whatever the number of rules.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from appliance.router.ranges import ALL_PORTS, Interval, merge, parse_addresses, prefix_interval, subtract
from appliance.types.addresses import Address, Prefix
from appliance.types.errors import ApplianceError, DecodeError
from appliance.types.netmap import FilterRule

TCP, UDP, SCTP = 6, 17, 132
PORT_PROTOCOLS = (TCP, UDP, SCTP)
ICMP = {4: 1, 6: 58}
DEFAULT_PROTOCOLS = (6, 17, 1, 58)
"""Of a rule that names none (node-os spec 1.4)."""
TSMP = 99
MAX_DEPTH = 8
MAX_ELEMENTS = 500_000
REMEMBERED = 32_768
"""Addresses and classes kept from one filter to the next, which differ by little."""
_CAP = "cap:"

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

    @property
    def size(self) -> int:
        """Number of elements in all."""
        return len(self.icmp) + len(self.whole) + sum(map(len, self.layers))

    @property
    def name(self) -> str:
        """Ten hex digits that name the content, so that equal content keeps its place from one filter to the next."""
        return hashlib.blake2s(repr(self).encode(), digest_size=5).hexdigest()


@dataclass(frozen=True, slots=True)
class FamilyFilter:
    """Sources that may open something, each disjoint interval with its destinations, for one IP version."""

    version: int
    classes: tuple[tuple[Destinations, tuple[Interval, ...]], ...]


@dataclass(frozen=True, slots=True)
class CompiledFilter:
    families: tuple[FamilyFilter, FamilyFilter]
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class _Bundle:
    """Rules that open the same destinations, as one."""

    entries: tuple[tuple[int, Interval, Interval], ...]
    protocols: tuple[int, ...]
    sources: list[tuple[int, Interval]] = field(default_factory=list)


def compile_rules(
    rules: Iterable[FilterRule],
    cap_sources: Mapping[str, tuple[Address, ...]] | None = None,
    jailed: Iterable[Prefix] = (),
) -> CompiledFilter:
    """Bad entries are left out and named in `problems`. Raises `FilterError` when the result would be too large."""
    problems: list[str] = []
    bundles = _bundles(rules, cap_sources or {}, problems)
    shut = list(jailed)
    families = [_family(version, bundles, shut) for version in (4, 6)]
    return CompiledFilter((families[0], families[1]), tuple(dict.fromkeys(problems)))


def source_entries(
    texts: Iterable[str], cap_sources: Mapping[str, tuple[Address, ...]], problems: list[str]
) -> Iterator[tuple[int, Interval]]:
    """Sources of a rule; `cap:` stands for the peers that hold the capability now."""
    for text in texts:
        if text.startswith(_CAP):
            for address in cap_sources.get(text[len(_CAP) :], ()):
                yield address.version, (int(address), int(address))
        else:
            yield from _parsed(text, problems)


def destination_entries(rule: FilterRule, problems: list[str]) -> Iterator[tuple[int, Interval, Interval]]:
    """Version, addresses and ports of a rule's destinations."""
    for item in rule.dst_ports:
        if not 0 <= item.first <= item.last <= 65535:
            problems.append(f"filter rule with bad ports {item.first}-{item.last}")
            continue
        for version, interval in _parsed(item.ip, problems):
            yield version, interval, (item.first, item.last)


def rule_protocols(rule: FilterRule) -> tuple[int, ...]:
    """Values outside 0 to 255 are ignored; none named means the default set."""
    if not rule.ip_protos:
        return DEFAULT_PROTOCOLS
    return tuple(sorted({number for number in rule.ip_protos if 0 <= number <= 255}))


@lru_cache(maxsize=REMEMBERED)
def _addresses(text: str) -> tuple[tuple[int, Interval], ...]:
    return tuple(parse_addresses(text))


def _parsed(text: str, problems: list[str]) -> tuple[tuple[int, Interval], ...]:
    try:
        return _addresses(text)
    except DecodeError as error:
        problems.append(f"filter rule ignored: {error.text}")
        return ()


def _bundles(
    rules: Iterable[FilterRule], cap_sources: Mapping[str, tuple[Address, ...]], problems: list[str]
) -> list[_Bundle]:
    found: dict[object, _Bundle] = {}
    for rule in rules:
        if not rule.dst_ports:
            continue
        protocols = rule_protocols(rule)
        entries = tuple(destination_entries(rule, problems))
        bundle = found.setdefault((entries, protocols), _Bundle(entries, protocols))
        bundle.sources.extend(source_entries(rule.src_ips, cap_sources, problems))
    return list(found.values())


def _family(version: int, bundles: list[_Bundle], jailed: list[Prefix]) -> FamilyFilter:
    shut = [prefix_interval(prefix) for prefix in jailed if prefix.version == version]
    usable = [bundle for bundle in bundles if any(entry[0] == version for entry in bundle.entries)]
    pieces: dict[int, list[Interval]] = defaultdict(list)
    for members, interval in _cut(version, usable, shut):
        pieces[members].append(interval)
    classes: dict[Destinations, list[Interval]] = defaultdict(list)
    for members, intervals in pieces.items():
        opened = tuple((usable[index].entries, usable[index].protocols) for index in _bits(members))
        classes[_destinations(version, opened)] += intervals
    made = ((destinations, tuple(merge(intervals))) for destinations, intervals in classes.items())
    return FamilyFilter(version, tuple(sorted(made, key=lambda item: item[1])))


def _cut(version: int, bundles: list[_Bundle], shut: list[Interval]) -> Iterator[tuple[int, Interval]]:
    """Atomic source intervals with the bit set of bundles that they belong to."""
    toggles: dict[int, int] = defaultdict(int)
    for index, bundle in enumerate(bundles):
        own = (interval for family, interval in bundle.sources if family == version)
        for first, last in subtract(own, shut):
            toggles[first] ^= 1 << index
            toggles[last + 1] ^= 1 << index
    members = 0
    previous = 0
    for boundary in sorted(toggles):
        if members:
            yield members, (previous, boundary - 1)
        members ^= toggles[boundary]
        previous = boundary


def _bits(members: int) -> Iterator[int]:
    while members:
        low = members & -members
        yield low.bit_length() - 1
        members ^= low


@lru_cache(maxsize=REMEMBERED)
def _destinations(version: int, bundles: tuple[Opened, ...]) -> Destinations:
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
