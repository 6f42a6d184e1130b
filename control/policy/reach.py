"""Questions to a compiled policy: which rules let a source reach a destination, straight from addresses.

Slower than the classes of `compiled`, and independent of them: tests of the policy, `explain` and `diff` ask here.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING

from control.policy.members import lone_owner
from control.policy.ranges import INTERNET, OVERLAY, joined, overlaps, prefix_range
from control.policy.selectors import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from appliance.types.addresses import Prefix
    from appliance.types.ids import NodeId
    from control.policy.compiled import CompiledPolicy
    from control.policy.facts import NodeFacts
    from control.policy.postures import AttributeValue
    from control.policy.ranges import Range
    from control.policy.rules import CompiledRule, SourceSet
    from control.policy.selectors import Selector

DEFAULT_PROTOCOLS = frozenset({6, 17, 1, 58})


class AddressSet:
    """A set of addresses that answers whether it shares one with a prefix."""

    def __init__(self, v4: Iterable[Range], v6: Iterable[Range]) -> None:
        self._ranges = {4: joined(v4), 6: joined(v6)}
        self._firsts = {version: [first for first, _ in ranges] for version, ranges in self._ranges.items()}

    def overlaps(self, prefix: Prefix) -> bool:
        first, last = prefix_range(prefix)
        index = bisect_right(self._firsts[prefix.version], last) - 1
        return index >= 0 and self._ranges[prefix.version][index][1] >= first


EVERYTHING = AddressSet([(0, 2**32 - 1)], [(0, 2**128 - 1)])


@dataclass(frozen=True, slots=True)
class Target:
    """Where to: addresses of one destination, a port, protocols."""

    prefixes: tuple[Prefix, ...]
    port: int
    protocols: frozenset[int] = DEFAULT_PROTOCOLS


class Reach:
    """`attributes`, if given, stand for the posture of every source."""

    def __init__(self, policy: CompiledPolicy, attributes: Mapping[str, AttributeValue] | None = None) -> None:
        self._policy = policy
        self._attributes = attributes
        self._sets: dict[int, AddressSet] = {}
        self._rules_toward: dict[Target, list[CompiledRule]] = {}
        self._owners = {
            address: lone_owner(node) for node in policy.nodes for address in (int(node.ipv4), int(node.ipv6))
        }

    def prefixes(self, selector: Selector) -> tuple[Prefix, ...]:
        """Addresses that a selector means: its networks, or those of its nodes, or of its service."""
        if selector.kind is Kind.ANY:
            return tuple(ip_network(text) for text in OVERLAY)
        if selector.is_network:
            return selector.networks
        members = self._policy.members
        if selector.kind is Kind.SERVICE:
            return tuple(ip_network(one) for one in members.services.get(selector.value, ()))
        nodes = sorted(members.holders(selector).values(), key=lambda node: node.id)
        return tuple(prefix for node in nodes for prefix in node_prefixes(node))

    def letting(self, source: Prefix, target: Target) -> Iterator[CompiledRule]:
        """Packet rules that let `source` through to the target, in order; of grants with `via` those that somebody
        carries."""
        for rule in self._toward(target):
            from_source = self.source_set(rule.source).overlaps(source)
            if from_source and (not rule.is_self or self._same_owner(source, target)):
                yield rule

    def _toward(self, target: Target) -> list[CompiledRule]:
        """Rules that let somebody through to the target; found once for all sources."""
        known = self._rules_toward.get(target)
        if known is None:
            known = self._rules_toward[target] = [
                rule
                for rule in self._policy.rules.rules
                if not rule.is_app and self._open(rule, target)
                if rule.is_self or any(self.reaches(dst.selector, target.prefixes) for dst in rule.rule.destinations)
                if not rule.rule.via or self.carriers(rule, target.prefixes)
            ]
        return known

    def carriers(self, rule: CompiledRule, prefixes: tuple[Prefix, ...]) -> tuple[NodeId, ...]:
        """Routers with a tag of the grant's `via` that serve a way to one of the addresses, by id."""
        members = self._policy.members
        found = {
            node_id
            for route, node_ids in members.servers.items()
            if any(_leads_to(route, prefix) for prefix in prefixes)
            for node_id in node_ids
            if rule.via_mask & members.entries[node_id].masks.own
        }
        return tuple(sorted(found))

    def _open(self, rule: CompiledRule, target: Target) -> bool:
        if not target.protocols & (frozenset(rule.rule.protocol) or DEFAULT_PROTOCOLS):
            return False
        return any(first <= target.port <= last for dst in rule.rule.destinations for first, last in dst.ports)

    def _same_owner(self, source: Prefix, target: Target) -> bool:
        owner = self._owners.get(int(source.network_address))
        return owner is not None and any(
            self._owners.get(int(prefix.network_address)) == owner for prefix in target.prefixes
        )

    def reaches(self, selector: Selector, prefixes: tuple[Prefix, ...]) -> bool:
        """Whether a destination holds one of the addresses."""
        if selector.kind in (Kind.ANY, Kind.DANGER_ALL):
            return True
        networks = INTERNET if selector.kind is Kind.INTERNET else selector.networks
        if networks:
            return any(overlaps(network, prefix) for network in networks for prefix in prefixes)
        held = AddressSet(*self._policy.members.ranges([selector]))
        return any(held.overlaps(prefix) for prefix in prefixes)

    def source_set(self, number: int) -> AddressSet:
        """Addresses of the sources with this number."""
        known = self._sets.get(number)
        if known is None:
            known = self._sets[number] = self._source_set(self._policy.rules.sources[number])
        return known

    def _source_set(self, source: SourceSet) -> AddressSet:
        members = self._policy.members
        if source.postures:
            return self._satisfying(source)
        if any(selector.kind is Kind.DANGER_ALL for selector in source.selectors):
            return EVERYTHING
        v4, v6 = members.ranges(selector for selector in source.selectors if selector.kind is not Kind.ANY)
        if source.has_any:
            for prefix in (*(ip_network(text) for text in OVERLAY), *members.subnet_routes()):
                (v4 if prefix.version == 4 else v6).append(prefix_range(prefix))
        return AddressSet(v4, v6)

    def _satisfying(self, source: SourceSet) -> AddressSet:
        members = self._policy.members
        if self._attributes is None:
            nodes = members.satisfying(source)
        else:
            postures = self._policy.policy.postures.values()
            holds = any(
                source.postures >> number & 1 and posture.holds(self._attributes)
                for number, posture in enumerate(postures)
            )
            found = {node.id: node for one in source.selectors for node in members.holders(one).values()}
            nodes = list(found.values()) if holds else []
        prefixes = [prefix for node in nodes for prefix in node_prefixes(node)]
        return AddressSet(
            [prefix_range(prefix) for prefix in prefixes if prefix.version == 4],
            [prefix_range(prefix) for prefix in prefixes if prefix.version == 6],
        )


def _leads_to(route: Prefix, prefix: Prefix) -> bool:
    """Whether traffic to `prefix` may take the route; an exit route leads to the Internet only."""
    if route.prefixlen == 0:
        return route.version == prefix.version and any(overlaps(network, prefix) for network in INTERNET)
    return overlaps(route, prefix)


def node_prefixes(node: NodeFacts) -> tuple[Prefix, Prefix]:
    return ip_network(node.ipv4), ip_network(node.ipv6)
