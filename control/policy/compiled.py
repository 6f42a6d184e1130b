"""A policy joined with a mesh: packet filters and visibility of each node, kept up by single-node changes.

Nodes are put in classes by the rules that they match as source and as destination (bit masks over the rules); rules
connect classes, so visibility is decided per class and one node's change touches that node, the classes that it
leaves and enters, and the filters of rules whose sources it belongs to. Semantics: policy-and-management spec
sections 2.1 to 2.5. Nothing here does IO.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from appliance.types.netmap import FilterRule, PortRange
from control.policy.matching import SelectorTable, comes_from_route, reaches_route
from control.policy.ranges import INTERNET, WILDCARD, Range, prefix_range, prefix_text, render
from control.policy.selectors import Kind, Selector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from appliance.types.addresses import Prefix
    from appliance.types.ids import NodeId, UserId
    from control.policy.document import AclRule, Policy
    from control.policy.facts import NodeFacts, UserFacts
    from control.policy.matching import Masks

ALLOW_ALL_RULE = FilterRule(src_ips=("*",), dst_ports=(PortRange("*"),))
_CACHED_ROUTES = 65536
_FIXED = frozenset({Kind.ANY, Kind.DANGER_ALL, Kind.PREFIX})
"""Sources whose text does not depend on which nodes there are."""


@dataclass(frozen=True, slots=True)
class PolicyDelta:
    """What one node's change means: `viewers` saw it before or see it now (itself included), `refiltered` have
    another packet filter."""

    viewers: frozenset[NodeId]
    refiltered: frozenset[NodeId]


@dataclass(frozen=True, slots=True)
class _Class:
    """Rule numbers as bits: the node is a source, a destination, gets the rule in its filter, is a source of a rule
    toward autogroup:self."""

    src: int
    dst: int
    filtered: int
    self_src: int


@dataclass(slots=True)
class _Entry:
    node: NodeFacts
    masks: Masks
    kind: _Class


@dataclass(frozen=True, slots=True)
class _Rule:
    """An ACL rule with its selectors as masks."""

    acl: AclRule
    source: int
    src_mask: int
    dst_mask: int
    has_self: bool


class CompiledPolicy:
    """`control.state.mesh.PolicyView`, mutable by `put_node`, `remove_node` and `put_user`."""

    def __init__(self, policy: Policy, users: Iterable[UserFacts], nodes: Iterable[NodeFacts]) -> None:
        self.policy = policy
        self._users: dict[UserId, UserFacts] = {user.id: user for user in users}
        self._table = SelectorTable(policy, self._users)
        self._sources: list[tuple[Selector, ...]] = []
        self._rules: list[_Rule] = [self._rule(acl) for acl in policy.acls or ()]
        self._members: list[dict[NodeId, NodeFacts]] = [{} for _ in self._table.selectors]
        self._entries: dict[NodeId, _Entry] = {}
        self._classes: dict[_Class, set[NodeId]] = {}
        self._kinds: dict[Masks, _Class] = {}
        self._untagged: dict[UserId, set[NodeId]] = {}
        self._routes: Counter[Prefix] = Counter()
        self._source_texts: dict[int, tuple[str, ...]] = {}
        self._usable: dict[tuple[int, int, Prefix], bool] = {}
        self._has_self = any(rule.has_self for rule in self._rules)
        for node in nodes:
            self._add(node)

    # Reading

    def filter_rules(self, node_id: NodeId) -> tuple[FilterRule, ...]:
        """The node's packet filter, reduced to its own addresses and routes; () = deny all."""
        if self.policy.allows_all:
            return (ALLOW_ALL_RULE,)
        entry = self._entries.get(node_id)
        if entry is None:
            return ()
        merged: dict[tuple[tuple[str, ...], tuple[int, ...]], list[PortRange]] = {}
        for number in _bits(entry.kind.filtered):
            rule = self._rules[number]
            ports = self._destination_ports(entry, rule)
            sources = self._source_text(rule.source) if ports else ()
            if sources:
                merged.setdefault((sources, rule.acl.protocol), []).extend(ports)
        for number, sources in self._self_sources(entry.node):
            acl = self._rules[number].acl
            merged.setdefault((sources, acl.protocol), []).extend(_self_ports(entry.node, acl))
        return tuple(
            FilterRule(src_ips=sources, dst_ports=tuple(dict.fromkeys(ports)), ip_protos=protocol)
            for (sources, protocol), ports in merged.items()
        )

    def visible_peers(self, node_id: NodeId) -> frozenset[NodeId]:
        entry = self._entries.get(node_id)
        if entry is None:
            return frozenset()
        if self.policy.allows_all:
            return frozenset(self._entries) - {node_id}
        peers: set[NodeId] = set()
        for kind, members in self._classes.items():
            if kind.src & entry.kind.dst or kind.dst & entry.kind.src:
                peers |= members
        peers |= self._self_peers(entry)
        peers.discard(node_id)
        return frozenset(peers)

    def are_peers(self, one: NodeId, other: NodeId) -> bool:
        first, second = self._entries.get(one), self._entries.get(other)
        if first is None or second is None or one == other:
            return False
        if self.policy.allows_all:
            return True
        if first.kind.src & second.kind.dst or first.kind.dst & second.kind.src:
            return True
        same_owner = _lone_owner(first.node) is not None and _lone_owner(first.node) == _lone_owner(second.node)
        return same_owner and bool(first.kind.self_src or second.kind.self_src)

    def may_use(self, viewer: NodeId, peer: NodeId, route: Prefix) -> bool:
        """Whether a rule connects the viewer (or a network behind it) with `route` behind the peer."""
        if self.policy.allows_all:
            return True
        entry = self._entries.get(viewer)
        if entry is None or peer not in self._entries:
            return False
        key = (entry.kind.src, entry.kind.dst, route)
        known = self._usable.get(key)
        if known is None:
            if len(self._usable) >= _CACHED_ROUTES:
                self._usable.clear()
            known = self._usable[key] = self._may_use(entry.kind, route)
        return known

    def _may_use(self, kind: _Class, route: Prefix) -> bool:
        for number in _bits(kind.src):
            if any(reaches_route(dst.selector, route) for dst in self._rules[number].acl.destinations):
                return True
        for number in _bits(kind.dst):
            if any(comes_from_route(source, route) for source in self._rules[number].acl.sources):
                return True
        return False

    # Changing

    def put_user(self, user: UserFacts) -> None:
        """A new user without nodes. For any other change of users compile anew."""
        self._users[user.id] = user
        self._table.forget_user(user.id)

    def put_node(self, node: NodeFacts) -> PolicyDelta:
        """Add or replace a node."""
        before = self._entries.get(node.id)
        seen = self.visible_peers(node.id)
        routes_before = set(before.node.subnet_routes) if before is not None else set()
        if before is not None:
            self._drop(before)
        after = self._add(node)
        touched = self._touched_sources(before, after, routes_before != set(node.subnet_routes))
        refiltered = self._refiltered(touched) | self._refiltered_self(before, after)
        if before is None or _own_filter(before) != _own_filter(after):
            refiltered.add(node.id)
        return PolicyDelta(seen | self.visible_peers(node.id) | {node.id}, frozenset(refiltered))

    def remove_node(self, node_id: NodeId) -> PolicyDelta:
        entry = self._entries.get(node_id)
        if entry is None:
            return PolicyDelta(frozenset(), frozenset())
        seen = self.visible_peers(node_id)
        self._drop(entry)
        touched = self._touched_sources(entry, None, bool(entry.node.subnet_routes))
        refiltered = self._refiltered(touched) | self._refiltered_self(entry, None)
        return PolicyDelta(seen | {node_id}, frozenset(refiltered))

    # Indexes

    def _rule(self, acl: AclRule) -> _Rule:
        selectors = tuple(dst.selector for dst in acl.destinations)
        plain = tuple(selector for selector in selectors if selector.kind is not Kind.SELF)
        if acl.sources not in self._sources:
            self._sources.append(acl.sources)
        source = self._sources.index(acl.sources)
        src_mask, dst_mask = self._table.mask(acl.sources), self._table.mask(plain)
        return _Rule(acl, source, src_mask, dst_mask, len(plain) < len(selectors))

    def _kind(self, masks: Masks) -> _Class:
        kind = self._kinds.get(masks)
        if kind is not None:
            return kind
        src = dst = filtered = self_src = 0
        as_dst = masks.own | masks.routes | masks.exits
        for number, rule in enumerate(self._rules):
            bit = 1 << number
            if rule.src_mask & (masks.own | masks.routes):
                src |= bit
            if rule.dst_mask & as_dst:
                dst |= bit
            if rule.dst_mask & (as_dst | masks.covered):
                filtered |= bit
            if rule.has_self and rule.src_mask & masks.own:
                self_src |= bit
        kind = self._kinds[masks] = _Class(src, dst, filtered, self_src)
        return kind

    def _add(self, node: NodeFacts) -> _Entry:
        masks = self._table.match(node)
        entry = self._entries[node.id] = _Entry(node, masks, self._kind(masks))
        self._classes.setdefault(entry.kind, set()).add(node.id)
        for number in _bits(masks.own):
            self._members[number][node.id] = node
        self._routes.update(node.subnet_routes)
        owner = _lone_owner(node)
        if owner is not None:
            self._untagged.setdefault(owner, set()).add(node.id)
        return entry

    def _drop(self, entry: _Entry) -> None:
        node = entry.node
        del self._entries[node.id]
        members = self._classes[entry.kind]
        members.discard(node.id)
        if not members:
            del self._classes[entry.kind]
        for number in _bits(entry.masks.own):
            self._members[number].pop(node.id, None)
        self._routes.subtract(node.subnet_routes)
        owner = _lone_owner(node)
        if owner is not None:
            self._untagged[owner].discard(node.id)

    # What a change touches

    def _touched_sources(self, before: _Entry | None, after: _Entry | None, routes_differ: bool) -> int:
        """Rules whose source addresses differ, as a mask; their cached texts are dropped."""
        selectors = (before.masks.own if before else 0) ^ (after.masks.own if after else 0)
        if before is not None and after is not None and _addresses(before.node) != _addresses(after.node):
            selectors = before.masks.own | after.masks.own
        rules = 0
        for number, rule in enumerate(self._rules):
            wild = routes_differ and any(source.kind is Kind.ANY for source in rule.acl.sources)
            moved = any(self._table.selectors[bit].kind not in _FIXED for bit in _bits(rule.src_mask & selectors))
            if wild or moved:
                rules |= 1 << number
                self._source_texts.pop(rule.source, None)
        return rules

    def _refiltered(self, rules: int) -> set[NodeId]:
        found: set[NodeId] = set()
        if rules:
            for kind, members in self._classes.items():
                if kind.filtered & rules:
                    found |= members
        return found

    def _refiltered_self(self, before: _Entry | None, after: _Entry | None) -> set[NodeId]:
        if not self._has_self:
            return set()
        was = (_lone_owner(before.node), before.kind.self_src, _addresses(before.node)) if before else None
        now = (_lone_owner(after.node), after.kind.self_src, _addresses(after.node)) if after else None
        if was == now:
            return set()
        found: set[NodeId] = set()
        for state in (was, now):
            if state is not None and state[0] is not None and state[1]:
                found |= self._untagged.get(state[0], set())
        return found

    # Building rules

    def _source_text(self, source: int) -> tuple[str, ...]:
        text = self._source_texts.get(source)
        if text is None:
            text = self._source_texts[source] = self._render_sources(self._sources[source])
        return text

    def _render_sources(self, selectors: tuple[Selector, ...]) -> tuple[str, ...]:
        kinds = {selector.kind for selector in selectors}
        if Kind.DANGER_ALL in kinds:
            return ("*",)
        named = render(*self._ranges(selector for selector in selectors if selector.kind is not Kind.ANY))
        if Kind.ANY not in kinds:
            return named
        routes = sorted((route for route, count in self._routes.items() if count > 0), key=lambda r: (r.version, r))
        return tuple(dict.fromkeys((*WILDCARD, *(prefix_text(route) for route in routes), *named)))

    def _ranges(self, selectors: Iterable[Selector]) -> tuple[list[Range], list[Range]]:
        v4: list[Range] = []
        v6: list[Range] = []
        for selector in selectors:
            if selector.prefix is not None:
                (v4 if selector.prefix.version == 4 else v6).append(prefix_range(selector.prefix))
                continue
            for node in self._members[self._table.number(selector)].values():
                v4.append((int(node.ipv4), int(node.ipv4)))
                v6.append((int(node.ipv6), int(node.ipv6)))
        return v4, v6

    def _destination_ports(self, entry: _Entry, rule: _Rule) -> list[PortRange]:
        found: list[PortRange] = []
        masks = entry.masks
        kept = masks.own | masks.routes | masks.exits | masks.covered
        for destination in rule.acl.destinations:
            selector = destination.selector
            if selector.kind is Kind.SELF or not kept >> self._table.number(selector) & 1:
                continue
            for text in _destination_texts(selector, entry.node):
                found.extend(PortRange(text, first, last) for first, last in destination.ports)
        return found

    def _self_sources(self, node: NodeFacts) -> Iterator[tuple[int, tuple[str, ...]]]:
        """(rule, source texts) of each rule toward autogroup:self that applies to the node."""
        owner = _lone_owner(node)
        if owner is None or not self._has_self:
            return
        entries = [self._entries[node_id] for node_id in self._untagged.get(owner, ())]
        for number, rule in enumerate(self._rules):
            sources = [one.node for one in entries if one.kind.self_src >> number & 1] if rule.has_self else []
            if sources:
                v4 = [(int(one.ipv4), int(one.ipv4)) for one in sources]
                yield number, render(v4, [(int(one.ipv6), int(one.ipv6)) for one in sources])

    def _self_peers(self, entry: _Entry) -> set[NodeId]:
        owner = _lone_owner(entry.node)
        if owner is None or not self._has_self:
            return set()
        siblings = self._untagged[owner]
        if entry.kind.self_src:
            return siblings
        return {node_id for node_id in siblings if self._entries[node_id].kind.self_src}


def _bits(mask: int) -> Iterator[int]:
    """Numbers of the bits that are set, ascending."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _lone_owner(node: NodeFacts) -> UserId | None:
    """Owner of an untagged node."""
    return None if node.tags else node.user_id


def _addresses(node: NodeFacts) -> tuple[int, int]:
    return int(node.ipv4), int(node.ipv6)


def _own_filter(entry: _Entry) -> tuple[Masks, tuple[int, int], UserId | None]:
    """What the node's own filter depends on, apart from others."""
    return entry.masks, _addresses(entry.node), _lone_owner(entry.node)


def _destination_texts(selector: Selector, node: NodeFacts) -> tuple[str, ...]:
    if selector.kind is Kind.ANY:
        return ("*",)
    if selector.kind is Kind.INTERNET:
        return tuple(prefix_text(prefix) for prefix in INTERNET)
    if selector.prefix is not None:
        return (prefix_text(selector.prefix),)
    return str(node.ipv4), str(node.ipv6)


def _self_ports(node: NodeFacts, acl: AclRule) -> list[PortRange]:
    return [
        PortRange(address, first, last)
        for destination in acl.destinations
        if destination.selector.kind is Kind.SELF
        for address in (str(node.ipv4), str(node.ipv6))
        for first, last in destination.ports
    ]
