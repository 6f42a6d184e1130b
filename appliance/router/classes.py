"""Source classes in nftables' words (node-os spec 1.5), pure.

A class whose sources times destinations are few goes into sets that all such classes share, keyed by source and
destination; so a thousand users with a machine each cost a thousand elements, not a thousand chains. The others get a
chain and sets of their own, found through one verdict map by source.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from appliance.ports.firewall import NftChain, NftSet
from appliance.router.compile import Destinations, FamilyFilter
from appliance.router.ranges import Interval, interval_text, ports_text

FLAT_ELEMENTS = 16
_WORD = {4: "ip", 6: "ip6"}
_ICMP_WORD = {4: "icmp", 6: "ipv6-icmp"}


@dataclass(slots=True)
class RenderedClasses:
    """`rules` go into the family's chain, in this order."""

    rules: list[str] = field(default_factory=list)
    sets: list[NftSet] = field(default_factory=list)
    chains: list[NftChain] = field(default_factory=list)


def render_family(family: FamilyFilter) -> RenderedClasses:
    version = family.version
    rendered = RenderedClasses()
    shared = _Shared(version)
    verdicts: dict[str, str] = {}
    for destinations, intervals in family.classes:
        if len(intervals) * destinations.size <= FLAT_ELEMENTS:
            shared.add(destinations, intervals)
        else:
            chain = f"c{version}_{destinations.name}"
            verdicts |= {interval_text(version, interval): f"jump {chain}" for interval in intervals}
            _own_class(rendered, version, destinations, chain)
    shared.render(rendered)
    rendered.sets.append(NftSet(f"src{version}", f"ipv{version}_addr : verdict", verdicts))
    rendered.rules.append(f"{_WORD[version]} saddr vmap @src{version}")
    return rendered


class _Shared:
    """The sets of small classes. Sources of different classes never overlap, so neither do the elements."""

    def __init__(self, version: int) -> None:
        self._version = version
        self._icmp: dict[str, str] = {}
        self._layers: dict[int, dict[str, str]] = defaultdict(dict)
        self._whole: dict[str, str] = {}

    def add(self, destinations: Destinations, sources: tuple[Interval, ...]) -> None:
        for interval in sources:
            source = interval_text(self._version, interval)
            for target in destinations.icmp:
                self._icmp[f"{source} . {interval_text(self._version, target)}"] = ""
            for depth, layer in enumerate(destinations.layers):
                for protocol, target, ports in layer:
                    place = f"{source} . {interval_text(self._version, target)}"
                    self._layers[depth][f"{protocol} . {place} . {ports_text(ports)}"] = ""
            for protocol, target in destinations.whole:
                self._whole[f"{protocol} . {source} . {interval_text(self._version, target)}"] = ""

    def render(self, rendered: RenderedClasses) -> None:
        version, word = self._version, _WORD[self._version]
        address = f"ipv{version}_addr"
        pair, pair_type = f"{word} saddr . {word} daddr", f"{address} . {address}"
        name = f"flat_icmp{version}"
        rendered.sets.append(NftSet(name, pair_type, self._icmp))
        rendered.rules.append(f"meta l4proto {_ICMP_WORD[version]} {pair} @{name} accept")
        for depth, elements in sorted(self._layers.items() or [(0, {})]):
            name = f"flat{version}_{depth}"
            rendered.sets.append(NftSet(name, f"inet_proto . {pair_type} . inet_service", elements))
            rendered.rules.append(f"meta l4proto . {pair} . th dport @{name} accept")
        if self._whole:
            name = f"flat_any{version}"
            rendered.sets.append(NftSet(name, f"inet_proto . {pair_type}", self._whole))
            rendered.rules.append(f"meta l4proto . {pair} @{name} accept")


def _own_class(rendered: RenderedClasses, version: int, destinations: Destinations, chain: str) -> None:
    """Sets are named by their content and never change: a new filter adds and removes whole classes."""
    tail, address = f"{version}_{destinations.name}", f"ipv{version}_addr"
    key = f"meta l4proto . {_WORD[version]} daddr"
    icmp = {interval_text(version, interval): "" for interval in destinations.icmp}
    rendered.sets.append(NftSet(f"icmp{tail}", address, icmp))
    rules = [f"meta l4proto {_ICMP_WORD[version]} {_WORD[version]} daddr @icmp{tail} accept"]
    for depth, layer in enumerate(destinations.layers):
        elements = {
            f"{protocol} . {interval_text(version, interval)} . {ports_text(ports)}": ""
            for protocol, interval, ports in layer
        }
        rendered.sets.append(NftSet(f"dst{tail}_{depth}", f"inet_proto . {address} . inet_service", elements))
        rules.append(f"{key} . th dport @dst{tail}_{depth} accept")
    if destinations.whole:
        elements = {f"{protocol} . {interval_text(version, item)}": "" for protocol, item in destinations.whole}
        rendered.sets.append(NftSet(f"any{tail}", f"inet_proto . {address}", elements))
        rules.append(f"{key} @any{tail} accept")
    rendered.chains.append(NftChain(chain, tuple(rules)))
