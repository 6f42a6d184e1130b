"""Source classes in nftables' words (node-os spec 1.5), pure.

A class whose sources times destinations are few goes into sets that all such classes share, keyed by source and
destination; so a thousand users with a machine each cost a thousand elements, not a thousand chains. The others get a
chain and sets of their own, found through one verdict map by source. Keys begin with the address: the kernel follows
every element that equals the packet so far, and thousands share a protocol.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import filterfalse

from appliance.ports.firewall import HASHED, RANGES, NftChain, NftSet
from appliance.router.compile import FamilyFilter
from appliance.router.destinations import MAX_DEPTH, Destinations
from appliance.router.pieces import SourceClass
from appliance.router.ranges import ALL_PORTS, Interval, interval_text, ports_text
from appliance.types.editions import Edition

FLAT_ELEMENTS = 16
_WORD = {4: "ip", 6: "ip6"}
_ICMP_WORD = {4: "icmp", 6: "ipv6-icmp"}


@dataclass(slots=True)
class RenderedClasses:
    """`rules` go into the family's chain, in this order."""

    rules: list[str] = field(default_factory=list)
    sets: list[NftSet] = field(default_factory=list)
    chains: list[NftChain] = field(default_factory=list)


Place = tuple[str, str]
"""Name of a set that small classes share, and an element in nft's words."""
Sources = dict[Destinations, tuple[Interval, ...]]


@dataclass(frozen=True, slots=True)
class _Changes:
    """Elements of the shared sets, by the set's name."""

    lost: dict[str, list[str]]
    gained: dict[str, dict[str, str]]


class ClassRenderer:
    """Renders one filter of an IP version after the other; what classes have in common with the former ones stays.

    Sources of different classes never overlap, so neither do their elements. Single addresses and ports go into hash
    sets (`one`), which the kernel searches in the same time at any size.
    """

    def __init__(self, version: int) -> None:
        self._version = version
        self._known: Edition[int, SourceClass] = Edition()
        self._held: dict[str, Edition[str, str]] = {}
        self._large: dict[Destinations, RenderedClasses] = {}

    def render(self, family: FamilyFilter) -> RenderedClasses:
        former, fresh_ones = family.classes.difference(self._known)
        gone, fresh = list(former.values()), list(fresh_ones.values())
        self._known = family.classes
        changes = _Changes(defaultdict(list), defaultdict(dict))
        self._change_small(changes, filter(_is_small, gone), filter(_is_small, fresh))
        self._change_large(changes, dict(filterfalse(_is_small, gone)), dict(filterfalse(_is_small, fresh)))
        for name in {*changes.lost, *changes.gained}:
            self._held[name] = self._of(name).changed(changes.lost[name], changes.gained[name])
        rendered = RenderedClasses()
        self._render_shared(rendered)
        for own in self._large.values():
            rendered.sets += own.sets
            rendered.chains += own.chains
        for name, options in ((f"one_src{self._version}", HASHED), (f"src{self._version}", RANGES)):
            rendered.sets.append(NftSet(name, f"ipv{self._version}_addr : verdict", self._of(name), options))
            rendered.rules.append(f"{_WORD[self._version]} saddr vmap @{name}")
        return rendered

    def _change_small(self, changes: _Changes, gone: Iterable[SourceClass], fresh: Iterable[SourceClass]) -> None:
        for each in gone:
            for name, element in _places(self._version, each):
                changes.lost[name].append(element)
        for each in fresh:
            for name, element in _places(self._version, each):
                changes.gained[name][element] = ""

    def _of(self, name: str) -> Edition[str, str]:
        """Elements of a set that classes share."""
        return self._held.get(name) or Edition()

    def _change_large(self, changes: _Changes, gone: Sources, fresh: Sources) -> None:
        for destinations, intervals in gone.items():
            for interval in set(intervals).difference(fresh.get(destinations, ())):
                name, element = self._source(interval)
                changes.lost[name].append(element)
            if destinations not in fresh:
                del self._large[destinations]
        for destinations, intervals in fresh.items():
            verdict = f"jump {_chain(self._version, destinations)}"
            for interval in set(intervals).difference(gone.get(destinations, ())):
                name, element = self._source(interval)
                changes.gained[name][element] = verdict
            if destinations not in self._large:
                self._large[destinations] = _own_class(self._version, destinations)

    def _source(self, interval: Interval) -> Place:
        """Where a source of a large class finds its chain."""
        name = "one_src" if interval[0] == interval[1] else "src"
        return f"{name}{self._version}", interval_text(self._version, interval)

    def _render_shared(self, rendered: RenderedClasses) -> None:
        version, word = self._version, _WORD[self._version]
        pair, pair_type = f"{word} saddr . {word} daddr", f"ipv{version}_addr . ipv{version}_addr"
        icmp = f"meta l4proto {_ICMP_WORD[version]} {pair}"
        full, full_type = f"{pair} . meta l4proto . th dport", f"{pair_type} . inet_proto . inet_service"
        plain, plain_type = f"{pair} . meta l4proto", f"{pair_type} . inet_proto"
        layers = {0} | {depth for depth in range(1, MAX_DEPTH) if self._of(_flat(version, depth))}
        found = [
            (f"one_icmp{version}", pair_type, HASHED, icmp),
            (f"one{version}", full_type, HASHED, full),
            (f"one_any{version}", plain_type, HASHED, plain),
            (f"flat_icmp{version}", pair_type, RANGES, icmp),
            *((_flat(version, depth), full_type, RANGES, full) for depth in sorted(layers)),
        ]
        if self._of(f"flat_any{version}"):
            found.append((f"flat_any{version}", plain_type, RANGES, plain))
        for name, kind, options, key in found:
            rendered.sets.append(NftSet(name, kind, self._of(name), options))
            rendered.rules.append(f"{key} @{name} accept")


def _chain(version: int, destinations: Destinations) -> str:
    return f"c{version}_{destinations.name}"


def _flat(version: int, depth: int) -> str:
    return f"flat{version}_{depth}"


def _is_small(each: SourceClass) -> bool:
    destinations, intervals = each
    return len(intervals) * destinations.size <= FLAT_ELEMENTS


def _places(version: int, each: SourceClass) -> Iterator[Place]:
    """The elements of a small class."""
    destinations, sources = each
    for source in sources:
        for target in destinations.icmp:
            single, place = _pair(version, source, target)
            yield f"{'one' if single else 'flat'}_icmp{version}", place
        for depth, layer in enumerate(destinations.layers):
            for protocol, target, ports in layer:
                yield _port_place(version, depth, _pair(version, source, target), protocol, ports)
        for protocol, target in destinations.whole:
            single, place = _pair(version, source, target)
            yield f"{'one' if single else 'flat'}_any{version}", f"{place} . {protocol}"


def _pair(version: int, source: Interval, target: Interval) -> tuple[bool, str]:
    """Whether both are single addresses, and the pair in nft's words."""
    text = f"{interval_text(version, source)} . {interval_text(version, target)}"
    return source[0] == source[1] and target[0] == target[1], text


def _port_place(version: int, depth: int, pair: tuple[bool, str], protocol: int, ports: Interval) -> Place:
    single, place = pair
    if single and ports == ALL_PORTS:
        return f"one_any{version}", f"{place} . {protocol}"
    if single and ports[0] == ports[1]:
        return f"one{version}", f"{place} . {protocol} . {ports[0]}"
    return _flat(version, depth), f"{place} . {protocol} . {ports_text(ports)}"


def _own_class(version: int, destinations: Destinations) -> RenderedClasses:
    """Sets are named by their content and never change: a new filter adds and removes whole classes."""
    rendered = RenderedClasses()
    tail, address = f"{version}_{destinations.name}", f"ipv{version}_addr"
    key = f"{_WORD[version]} daddr . meta l4proto"
    icmp = {interval_text(version, interval): "" for interval in destinations.icmp}
    rendered.sets.append(NftSet(f"icmp{tail}", address, icmp))
    rules = [f"meta l4proto {_ICMP_WORD[version]} {_WORD[version]} daddr @icmp{tail} accept"]
    for depth, layer in enumerate(destinations.layers):
        elements = {
            f"{interval_text(version, interval)} . {protocol} . {ports_text(ports)}": ""
            for protocol, interval, ports in layer
        }
        rendered.sets.append(NftSet(f"dst{tail}_{depth}", f"{address} . inet_proto . inet_service", elements))
        rules.append(f"{key} . th dport @dst{tail}_{depth} accept")
    if destinations.whole:
        elements = {f"{interval_text(version, item)} . {protocol}": "" for protocol, item in destinations.whole}
        rendered.sets.append(NftSet(f"any{tail}", f"{address} . inet_proto", elements))
        rules.append(f"{key} @any{tail} accept")
    rendered.chains.append(NftChain(_chain(version, destinations), tuple(rules)))
    return rendered
