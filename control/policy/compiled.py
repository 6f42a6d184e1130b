"""A policy joined with a mesh: what each node gets to know, kept up by single-node changes.

Nodes are put in classes by the rules that they match as source and as destination (bit masks over the rules); rules
connect classes, so visibility is decided per class and one node's change touches that node, the classes that it
leaves and enters, and the filters of rules whose sources it belongs to. Semantics: policy-and-management spec
section 2. Nothing here does IO.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from appliance.types.netmap import FilterRule, PortRange
from control.policy.attributes import AttributeTable
from control.policy.filters import FilterBuilder
from control.policy.matching import SelectorTable, comes_from_route, reaches_route
from control.policy.members import Entry, Members, lone_owner
from control.policy.rules import NodeClass, RuleTable, bits
from control.policy.ssh import SshTable
from control.policy.steering import Steered, Steering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from ipaddress import IPv4Address, IPv4Network, IPv6Address
    from typing import Any

    from appliance.proto.control.messages import SshPolicy
    from appliance.types.addresses import Prefix
    from appliance.types.ids import NodeId, UserId
    from control.policy.facts import NodeFacts, UserFacts
    from control.policy.matching import Masks
    from control.policy.model import Policy, SshRule
    from control.policy.selectors import Selector

ALLOW_ALL_RULE = FilterRule(src_ips=("*",), dst_ports=(PortRange("*"),))
_CACHED_ROUTES = 65536


@dataclass(frozen=True, slots=True)
class PolicyDelta:
    """What one node's change means: `viewers` saw it before or see it now (itself included), `refiltered` have
    another packet filter, `ssh` another SSH policy, `rerouted` other routes for some viewer."""

    viewers: frozenset[NodeId]
    refiltered: frozenset[NodeId]
    ssh: frozenset[NodeId] = frozenset()
    rerouted: frozenset[NodeId] = frozenset()


class CompiledPolicy:
    """`control.state.mesh.PolicyView`, mutable by `put_node`, `remove_node` and `put_user`.

    `services` are the addresses of services that rules may name as `svc:…`; `asked` selectors that no rule names but
    somebody will ask `members` for. `rank`: how well a router can take traffic now, more is better; ask `companions`
    when that changes.
    """

    def __init__(
        self,
        policy: Policy,
        users: Iterable[UserFacts],
        nodes: Iterable[NodeFacts],
        services: Mapping[str, tuple[IPv4Address | IPv6Address, ...]] | None = None,
        asked: tuple[Selector, ...] = (),
        rank: Callable[[NodeId], int] = lambda _: 2,
    ) -> None:
        self.policy = policy
        self.users: dict[UserId, UserFacts] = {user.id: user for user in users}
        self.table = SelectorTable(policy, self.users)
        self.rules = RuleTable(self.table, policy.rules)
        self._attributes = AttributeTable(policy, self.table)
        self._ssh = SshTable(policy, self.table, self.users)
        for test in policy.tests:
            self.table.mask((test.source, *(one for _, one, _ in (*test.accept, *test.deny))))
        for ssh_test in policy.ssh_tests:
            self.table.mask((ssh_test.source, *ssh_test.destinations))
        self.table.mask(asked)
        self.members = Members(self.table, self.rules, services or {})
        self._filters = FilterBuilder(self.rules, self.members, lambda entry: bool(self._apps(entry)))
        self._steering = Steering(self.rules, self.members, rank)
        self._usable: dict[tuple[int, int, Prefix], bool] = {}
        for node in nodes:
            self.members.add(node)

    # Reading

    @property
    def nodes(self) -> Iterable[NodeFacts]:
        return (entry.node for entry in self.members.entries.values())

    def filter_rules(self, node_id: NodeId) -> tuple[FilterRule, ...]:
        """The node's packet filter, reduced to its own addresses and routes; () = deny all."""
        if self.policy.allows_all:
            return (ALLOW_ALL_RULE,)
        entry = self.members.entries.get(node_id)
        return () if entry is None else self._filters.build(entry)

    def ssh_policy(self, node_id: NodeId) -> SshPolicy:
        """Who may log in to the node by SSH, as on the wire."""
        return self._ssh.policy_of(node_id, self.members)

    def ssh_rules(self, source: NodeId, target: NodeId, login: str) -> list[SshRule]:
        """SSH rules that let `source` log in to `target` as `login`, in the order of evaluation."""
        return list(self._ssh.matching(source, target, login, self.members))

    def ssh_check_period(self, source: NodeId, target: NodeId, login: str) -> float | None:
        """Seconds that a check of `source` toward `login` on `target` lasts; None = no check rule matches."""
        return self._ssh.check_period(source, target, login, self.members)

    def node_attributes(self, node_id: NodeId) -> Mapping[str, list[Any] | None]:
        """Keys of the node's own CapMap that the policy gives it."""
        entry = self.members.entries.get(node_id)
        if entry is None:
            return {}
        return dict.fromkeys(self._ssh.attributes_of(entry)) | self._attributes.of(entry.node, entry.masks)

    def _apps(self, entry: Entry) -> list[Any]:
        return self._attributes.apps(entry.node, entry.masks)

    def may_look_up(self, viewer: NodeId, connector: NodeId) -> bool:
        """Whether the viewer may use the apps of this app connector."""
        one, other = self.members.entries.get(viewer), self.members.entries.get(connector)
        if one is None or other is None or viewer == connector:
            return False
        return self.policy.allows_all or self._filters.may_look_up(one, other)

    def pools_for(self, node: NodeFacts) -> tuple[IPv4Network, ...]:
        """Where a node that is about to join gets its IPv4 address from; () = the whole range."""
        return self._attributes.pools(self.table.match(node))

    def disables_ipv4(self, node_id: NodeId) -> bool:
        """Whether no map shows an IPv4 address of the node."""
        entry = self.members.entries.get(node_id)
        return entry is not None and self._attributes.disables_ipv4(entry.masks)

    def without_ipv4(self) -> frozenset[NodeId]:
        """Nodes whose IPv4 address no map shows."""
        if not self._attributes.may_disable_ipv4:
            return frozenset()
        entries = self.members.entries.items()
        return frozenset(node_id for node_id, entry in entries if self._attributes.disables_ipv4(entry.masks))

    def peer_attributes(self, node_id: NodeId) -> Mapping[str, list[Any] | None]:
        """Keys of the node's CapMap that its peers see."""
        entry = self.members.entries.get(node_id)
        return {} if entry is None else self._attributes.for_peers(entry.node, entry.masks)

    def shown_attributes(self, viewer: NodeId, peer: NodeId) -> Mapping[str, list[Any] | None]:
        """Keys of the peer's CapMap in the map of this viewer alone: attributes that `broadcastToPeers` names."""
        one, other = self.members.entries.get(viewer), self.members.entries.get(peer)
        return {} if one is None or other is None else self._attributes.shown_to(one.masks, other.node)

    def visible_peers(self, node_id: NodeId) -> frozenset[NodeId]:
        entry = self.members.entries.get(node_id)
        if entry is None:
            return frozenset()
        if self.policy.allows_all:
            return frozenset(self.members.entries) - {node_id}
        peers: set[NodeId] = set()
        for kind, members in self.members.classes.items():
            if _connects(kind, entry.kind):
                peers |= members
        peers |= self._self_peers(entry)
        peers.discard(node_id)
        return frozenset(peers)

    def _self_peers(self, entry: Entry) -> set[NodeId]:
        owner = lone_owner(entry.node)
        if owner is None or not self.rules.self_rules:
            return set()
        siblings = self.members.untagged[owner]
        if entry.kind.self_src:
            return siblings
        return {node_id for node_id in siblings if self.members.entries[node_id].kind.self_src}

    def are_peers(self, one: NodeId, other: NodeId) -> bool:
        first, second = self.members.entries.get(one), self.members.entries.get(other)
        if first is None or second is None or one == other:
            return False
        if self.policy.allows_all or _connects(first.kind, second.kind):
            return True
        same_owner = lone_owner(first.node) is not None and lone_owner(first.node) == lone_owner(second.node)
        return same_owner and bool(first.kind.self_src or second.kind.self_src)

    def may_use(self, viewer: NodeId, peer: NodeId, route: Prefix) -> bool:
        """Whether a rule connects the viewer (or a network behind it) with `route` behind the peer."""
        if self.policy.allows_all:
            return True
        entry = self.members.entries.get(viewer)
        if entry is None or peer not in self.members.entries:
            return False
        key = (entry.kind.src, entry.kind.dst, route)
        known = self._usable.get(key)
        if known is None:
            if len(self._usable) >= _CACHED_ROUTES:
                self._usable.clear()
            known = self._usable[key] = self._may_use(entry.kind, route)
        return known

    def _may_use(self, kind: NodeClass, route: Prefix) -> bool:
        for number in bits(kind.src):
            rule = self.rules.rules[number].rule
            if not rule.via and any(reaches_route(dst.selector, route) for dst in rule.destinations):
                return True
        for number in bits(kind.dst):
            rule = self.rules.rules[number].rule
            if not rule.postures and any(comes_from_route(source, route) for source in rule.sources):
                return True
        return False

    def steered(self, viewer: NodeId, peer: NodeId) -> Steered:
        """Routes of `peer` that grants with `via` take from `viewer`, or give to it."""
        return self._steering.of(viewer, peer)

    def companions(self, node_id: NodeId) -> frozenset[NodeId]:
        """Routers whose routes may differ for some viewer when this one's rank changes."""
        entry = self.members.entries.get(node_id)
        return frozenset() if entry is None else self._steering.companions(entry)

    # Changing

    def put_user(self, user: UserFacts) -> None:
        """A new user without nodes. For any other change of users compile anew."""
        self.users[user.id] = user
        self.table.forget_user(user.id)

    def put_node(self, node: NodeFacts) -> PolicyDelta:
        """Add or replace a node."""
        before = self.members.entries.get(node.id)
        seen = self.visible_peers(node.id)
        if before is not None:
            self.members.drop(before)
        after = self.members.add(node)
        refiltered = self._refiltered(before, after)
        if before is None or (_own_filter(before), self._apps(before)) != (_own_filter(after), self._apps(after)):
            refiltered.add(node.id)
        viewers = seen | self.visible_peers(node.id) | {node.id}
        return self._delta(viewers, refiltered, before, after)

    def remove_node(self, node_id: NodeId) -> PolicyDelta:
        entry = self.members.entries.get(node_id)
        if entry is None:
            return PolicyDelta(frozenset(), frozenset())
        seen = self.visible_peers(node_id)
        self.members.drop(entry)
        refiltered = self._refiltered(entry, None)
        return self._delta(seen | {node_id}, refiltered, entry, None)

    def _delta(
        self, viewers: frozenset[NodeId], refiltered: set[NodeId], before: Entry | None, after: Entry | None
    ) -> PolicyDelta:
        return PolicyDelta(
            viewers,
            frozenset(refiltered),
            self._ssh.touched(before, after, self.members),
            self._steering.rerouted(before, after),
        )

    def _refiltered(self, before: Entry | None, after: Entry | None) -> set[NodeId]:
        """Nodes whose filter names the changed node as a source; forgets the texts that did."""
        direct = reverse = 0
        for number in self._touched_sources(before, after):
            self.members.forget_source(number)
            direct |= self.rules.users_of(number)
            reverse |= self.rules.reversers_of(number)
        found = self._refiltered_self(before, after)
        if direct or reverse:
            for kind, members in self.members.classes.items():
                if kind.filtered & direct or kind.companion & reverse:
                    found |= members
        return found

    def _touched_sources(self, before: Entry | None, after: Entry | None) -> list[int]:
        """Source sets whose text differs."""
        was, now = before.masks.own if before else 0, after.masks.own if after else 0
        postures = (before.masks.postures if before else 0) ^ (after.masks.postures if after else 0)
        moved = was ^ now
        if before is not None and after is not None and _addresses(before.node) != _addresses(after.node):
            moved = was | now
        routes_differ = _subnets(before) != _subnets(after)
        return [
            number
            for number, source in enumerate(self.rules.sources)
            if source.dynamic & moved
            or (routes_differ and source.has_any)
            or (source.postures & postures and source.dynamic & (was | now))
        ]

    def _refiltered_self(self, before: Entry | None, after: Entry | None) -> set[NodeId]:
        if not self.rules.self_rules:
            return set()
        was = (lone_owner(before.node), before.kind.self_src, _addresses(before.node)) if before else None
        now = (lone_owner(after.node), after.kind.self_src, _addresses(after.node)) if after else None
        if was == now:
            return set()
        found: set[NodeId] = set()
        for state in (was, now):
            if state is not None and state[0] is not None and (state[1] or self.rules.has_self_companions):
                found |= self.members.untagged.get(state[0], set())
        return found


def _connects(one: NodeClass, other: NodeClass) -> bool:
    return bool(one.src & other.dst or one.dst & other.src)


def _addresses(node: NodeFacts) -> tuple[int, int]:
    return int(node.ipv4), int(node.ipv6)


def _subnets(entry: Entry | None) -> set[Prefix]:
    return set() if entry is None else set(entry.node.subnet_routes)


def _own_filter(entry: Entry) -> tuple[Masks, tuple[int, int], UserId | None, tuple[Prefix, ...]]:
    """What the node's own filter depends on, apart from others."""
    return entry.masks, _addresses(entry.node), lone_owner(entry.node), entry.node.subnet_routes
