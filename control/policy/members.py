"""The mesh as the rules see it: each node's class, who holds each selector, who serves which route."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from control.policy.ranges import WILDCARD, Range, prefix_range, prefix_text, render
from control.policy.rules import bits
from control.policy.selectors import Kind, Selector

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from ipaddress import IPv4Address, IPv6Address

    from appliance.types.addresses import Prefix
    from appliance.types.ids import NodeId, UserId
    from control.policy.facts import NodeFacts
    from control.policy.matching import Masks, SelectorTable
    from control.policy.rules import NodeClass, RuleTable, SourceSet


@dataclass(slots=True)
class Entry:
    node: NodeFacts
    masks: Masks
    kind: NodeClass


class Members:
    """Indexes over the nodes; `add` and `drop` keep them."""

    def __init__(
        self, table: SelectorTable, rules: RuleTable, services: Mapping[str, tuple[IPv4Address | IPv6Address, ...]]
    ) -> None:
        self._table = table
        self._rules = rules
        self.services = services
        self._members: list[dict[NodeId, NodeFacts]] = [{} for _ in table.selectors]
        self.entries: dict[NodeId, Entry] = {}
        self.classes: dict[NodeClass, set[NodeId]] = {}
        self.untagged: dict[UserId, set[NodeId]] = {}
        self.routes: Counter[Prefix] = Counter()
        self.servers: dict[Prefix, set[NodeId]] = {}
        self._source_texts: dict[int, tuple[str, ...]] = {}

    def add(self, node: NodeFacts) -> Entry:
        masks = self._table.match(node)
        entry = self.entries[node.id] = Entry(node, masks, self._rules.class_of(masks))
        self.classes.setdefault(entry.kind, set()).add(node.id)
        for number in bits(masks.own):
            self._members[number][node.id] = node
        self.routes.update(node.subnet_routes)
        for route in (*node.subnet_routes, *node.exit_routes):
            self.servers.setdefault(route, set()).add(node.id)
        owner = lone_owner(node)
        if owner is not None:
            self.untagged.setdefault(owner, set()).add(node.id)
        return entry

    def drop(self, entry: Entry) -> None:
        node = entry.node
        del self.entries[node.id]
        members = self.classes[entry.kind]
        members.discard(node.id)
        if not members:
            del self.classes[entry.kind]
        for number in bits(entry.masks.own):
            self._members[number].pop(node.id, None)
        self.routes.subtract(node.subnet_routes)
        for route in (*node.subnet_routes, *node.exit_routes):
            self.servers[route].discard(node.id)
        owner = lone_owner(node)
        if owner is not None:
            self.untagged[owner].discard(node.id)

    def holders(self, selector: Selector) -> Mapping[NodeId, NodeFacts]:
        """Nodes with an address in the selector."""
        return self._members[self._table.number(selector)]

    def subnet_routes(self) -> list[Prefix]:
        """Every approved subnet route, ascending, IPv4 first."""
        return sorted((route for route, count in self.routes.items() if count > 0), key=prefix_order)

    # Sources as text

    def source_text(self, source: int) -> tuple[str, ...]:
        """SrcIPs of the rules with these sources."""
        text = self._source_texts.get(source)
        if text is None:
            text = self._source_texts[source] = self._render(self._rules.sources[source])
        return text

    def forget_source(self, source: int) -> None:
        self._source_texts.pop(source, None)

    def _render(self, source: SourceSet) -> tuple[str, ...]:
        if source.postures:
            return render(*node_ranges(self.satisfying(source)))
        kinds = {selector.kind for selector in source.selectors}
        if Kind.DANGER_ALL in kinds:
            return ("*",)
        named = render(*self.ranges(selector for selector in source.selectors if selector.kind is not Kind.ANY))
        if Kind.ANY not in kinds:
            return named
        return tuple(dict.fromkeys((*WILDCARD, *(prefix_text(route) for route in self.subnet_routes()), *named)))

    def satisfying(self, source: SourceSet) -> list[NodeFacts]:
        """Nodes among the sources that satisfy one of the postures; a posture lets in nodes only, no network."""
        found = {}
        for selector in source.selectors:
            for node_id, node in self.holders(selector).items():
                if source.postures & self.entries[node_id].masks.postures:
                    found[node_id] = node
        return list(found.values())

    def ranges(self, selectors: Iterable[Selector]) -> tuple[list[Range], list[Range]]:
        """(IPv4, IPv6) ranges of the selectors, not joined."""
        v4: list[Range] = []
        v6: list[Range] = []
        for selector in selectors:
            if selector.kind is Kind.SERVICE:
                for address in self.services.get(selector.value, ()):
                    (v4 if address.version == 4 else v6).append((int(address), int(address)))
                continue
            for prefix in selector.networks:
                (v4 if prefix.version == 4 else v6).append(prefix_range(prefix))
            if not selector.is_network:
                fours, sixes = node_ranges(self.holders(selector).values())
                v4 += fours
                v6 += sixes
        return v4, v6


def node_ranges(nodes: Iterable[NodeFacts]) -> tuple[list[Range], list[Range]]:
    """(IPv4, IPv6) ranges of the nodes' own addresses."""
    v4: list[Range] = []
    v6: list[Range] = []
    for node in nodes:
        v4.append((int(node.ipv4), int(node.ipv4)))
        v6.append((int(node.ipv6), int(node.ipv6)))
    return v4, v6


def lone_owner(node: NodeFacts) -> UserId | None:
    """Owner of an untagged node."""
    return None if node.tags else node.user_id


def prefix_order(prefix: Prefix) -> tuple[int, int, int]:
    return prefix.version, int(prefix.network_address), prefix.prefixlen
