"""Grants with `via`: which routers carry a viewer's traffic (policy-and-management spec 2.5).

A grant that names tags in `via` takes the routes that it covers from all routers without these tags, for the viewers
that it names, and gives them to the routers with them. Of several that serve one subnet the lowest node id among those
of the best rank gets it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from control.policy.matching import reaches_route
from control.policy.ranges import overlaps
from control.policy.rules import bits
from control.policy.selectors import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from appliance.types.addresses import Prefix
    from appliance.types.ids import NodeId
    from control.policy.facts import NodeFacts
    from control.policy.members import Entry, Members
    from control.policy.rules import CompiledRule, RuleTable


class Steered(NamedTuple):
    """Routes of a peer taken from a viewer, and given to it whoever is primary."""

    taken: frozenset[Prefix]
    given: frozenset[Prefix]


NOTHING = Steered(frozenset(), frozenset())


class Steering:
    """`rank`: how well a router can take traffic now, more is better."""

    def __init__(self, rules: RuleTable, members: Members, rank: Callable[[NodeId], int]) -> None:
        self._rank = rank
        self._rules = rules
        self._members = members
        self._via = 0
        self._plain = 0
        for number, rule in enumerate(rules.rules):
            if rule.rule.via:
                self._via |= 1 << number
            elif not rule.is_self and not rule.is_app:
                self._plain |= 1 << number

    def of(self, viewer: NodeId, peer: NodeId) -> Steered:
        """What the grants with `via` mean for `peer` in the map of `viewer`."""
        entries = self._members.entries
        one, other = entries.get(viewer), entries.get(peer)
        if not self._via or one is None or other is None or not one.kind.src & self._via:
            return NOTHING
        served = (*other.node.subnet_routes, *other.node.exit_routes)
        taken: set[Prefix] = set()
        given: set[Prefix] = set()
        for number in bits(one.kind.src & self._via):
            rule = self._rules.rules[number]
            steered = {route for route in served if _covers(rule, route)}
            if self._carries(rule, other):
                kept = {route for route in steered if self._is_first(rule, other.node, route)}
                given |= kept
                taken |= steered - kept
            else:
                taken |= steered
        plain = {route for route in taken | given if self._plainly_reaches(one, route)}
        return Steered(frozenset(taken - given - plain), frozenset(given - plain))

    def _carries(self, rule: CompiledRule, router: Entry) -> bool:
        return bool(rule.via_mask & router.masks.own)

    def _is_first(self, rule: CompiledRule, node: NodeFacts, route: Prefix) -> bool:
        if route.prefixlen == 0:
            return True
        entries = self._members.entries
        others = [one for one in self._members.servers.get(route, ()) if self._carries(rule, entries[one])]
        return node.id == min(others, key=lambda one: (-self._rank(one), one))

    def companions(self, entry: Entry) -> frozenset[NodeId]:
        """Nodes that serve a subnet of this one, itself included, where grants may choose between them."""
        servers = self._members.servers
        shared = [servers[route] for route in entry.node.subnet_routes if len(servers.get(route, ())) > 1]
        return frozenset().union(*shared) if self._via else frozenset()

    def _plainly_reaches(self, viewer: Entry, route: Prefix) -> bool:
        rules = (self._rules.rules[number].rule for number in bits(viewer.kind.src & self._plain))
        return any(reaches_route(dst.selector, route) for rule in rules for dst in rule.destinations)

    def rerouted(self, before: Entry | None, after: Entry | None) -> frozenset[NodeId]:
        """Other nodes that serve a route which the changed node began, or ceased, to serve."""
        if not self._via:
            return frozenset()
        was = _served(before)
        now = _served(after)
        tags_differ = before is not None and after is not None and before.node.tags != after.node.tags
        found: set[NodeId] = set()
        for route in was | now if tags_differ else was ^ now:
            found |= self._members.servers.get(route, set())
        return frozenset(found)


def _served(entry: Entry | None) -> set[Prefix]:
    return set() if entry is None else {*entry.node.subnet_routes, *entry.node.exit_routes}


def _covers(rule: CompiledRule, route: Prefix) -> bool:
    """Whether a destination of the grant overlaps the route; exit routes belong to autogroup:internet."""
    for destination in rule.rule.destinations:
        selector = destination.selector
        if route.prefixlen == 0:
            if selector.kind is Kind.INTERNET:
                return True
        elif any(overlaps(network, route) for network in selector.networks):
            return True
    return False
