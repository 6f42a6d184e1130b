"""Source classes in nftables' words (node-os spec 1.5), pure.

A class whose sources times destinations are few goes into sets that all such classes share, keyed by source and
destination; so a thousand users with a machine each cost a thousand elements, not a thousand chains. The others get a
chain and sets of their own, found through one verdict map by source. Keys begin with the address: the kernel follows
every element that equals the packet so far, and thousands share a protocol.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from appliance.ports.firewall import HASHED, RANGES, NftChain, NftSet
from appliance.router.compile import Destinations, FamilyFilter
from appliance.router.ranges import ALL_PORTS, Interval, interval_text, ports_text

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
    """The sets of small classes. Sources of different classes never overlap, so neither do the elements.

    Single addresses and ports go into hash sets (`one`), which the kernel searches in the same time at any size.
    """

    def __init__(self, version: int) -> None:
        self._version = version
        self._icmp: dict[bool, dict[str, str]] = {True: {}, False: {}}
        self._one: dict[str, str] = {}
        self._layers: dict[int, dict[str, str]] = defaultdict(dict)
        self._whole: dict[bool, dict[str, str]] = {True: {}, False: {}}

    def add(self, destinations: Destinations, sources: tuple[Interval, ...]) -> None:
        for interval in sources:
            for target in destinations.icmp:
                single, place = self._place(interval, target)
                self._icmp[single][place] = ""
            for depth, layer in enumerate(destinations.layers):
                for protocol, target, ports in layer:
                    self._add_ports(depth, self._place(interval, target), protocol, ports)
            for protocol, target in destinations.whole:
                single, place = self._place(interval, target)
                self._whole[single][f"{place} . {protocol}"] = ""

    def _place(self, source: Interval, target: Interval) -> tuple[bool, str]:
        """Whether both are single addresses, and the pair in nft's words."""
        text = f"{interval_text(self._version, source)} . {interval_text(self._version, target)}"
        return source[0] == source[1] and target[0] == target[1], text

    def _add_ports(self, depth: int, pair: tuple[bool, str], protocol: int, ports: Interval) -> None:
        single, place = pair
        if single and ports == ALL_PORTS:
            self._whole[True][f"{place} . {protocol}"] = ""
        elif single and ports[0] == ports[1]:
            self._one[f"{place} . {protocol} . {ports[0]}"] = ""
        else:
            self._layers[depth][f"{place} . {protocol} . {ports_text(ports)}"] = ""

    def render(self, rendered: RenderedClasses) -> None:
        version, word = self._version, _WORD[self._version]
        pair, pair_type = f"{word} saddr . {word} daddr", f"ipv{version}_addr . ipv{version}_addr"
        icmp = f"meta l4proto {_ICMP_WORD[version]} {pair}"
        full, full_type = f"{pair} . meta l4proto . th dport", f"{pair_type} . inet_proto . inet_service"
        plain, plain_type = f"{pair} . meta l4proto", f"{pair_type} . inet_proto"
        found = [
            (f"one_icmp{version}", pair_type, self._icmp[True], HASHED, icmp),
            (f"one{version}", full_type, self._one, HASHED, full),
            (f"one_any{version}", plain_type, self._whole[True], HASHED, plain),
            (f"flat_icmp{version}", pair_type, self._icmp[False], RANGES, icmp),
            *(
                (f"flat{version}_{depth}", full_type, elements, RANGES, full)
                for depth, elements in sorted(self._layers.items() or [(0, {})])
            ),
        ]
        if self._whole[False]:
            found.append((f"flat_any{version}", plain_type, self._whole[False], RANGES, plain))
        for name, kind, elements, options, key in found:
            rendered.sets.append(NftSet(name, kind, elements, options))
            rendered.rules.append(f"{key} @{name} accept")


def _own_class(rendered: RenderedClasses, version: int, destinations: Destinations, chain: str) -> None:
    """Sets are named by their content and never change: a new filter adds and removes whole classes."""
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
    rendered.chains.append(NftChain(chain, tuple(rules)))
