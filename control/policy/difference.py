"""What a new policy changes on a mesh: who gains and who loses what.

Nodes that both policies treat alike are one group, so that a large mesh is compared group by group.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from control.policy.members import lone_owner
from control.policy.ranges import joined, without
from control.policy.reach import DEFAULT_PROTOCOLS
from control.policy.rules import bits, mask_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from appliance.types.ids import NodeId, UserId
    from control.policy.compiled import CompiledPolicy
    from control.policy.meshfile import MeshNode
    from control.policy.ranges import Range

PROTOCOL_WORDS = {1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp", 132: "sctp"}
_EVERY_PORT = (0, 65535)


@dataclass(frozen=True, slots=True)
class Difference:
    """`what`, as "tcp 22", that every one of `sources` gains or loses toward every one of `targets` (node names)."""

    gains: bool
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    what: str


def compare(old: CompiledPolicy, new: CompiledPolicy, nodes: Sequence[MeshNode]) -> tuple[Difference, ...]:
    """Packets, capabilities, routes and SSH logins; both policies must be compiled over `nodes`."""
    sides = [_Side(old), _Side(new)]
    groups: dict[tuple[object, ...], list[MeshNode]] = defaultdict(list)
    for node in nodes:
        groups[(sides[0].key(node.id), sides[1].key(node.id), lone_owner(node))].append(node)
    found: list[Difference] = []
    members = list(groups.values())
    for sources in members:
        for targets in members:
            if sources is targets and len(sources) == 1:
                continue
            found += _between(sides[0], sides[1], sources, targets)
    return tuple(found)


def _between(old: _Side, new: _Side, sources: list[MeshNode], targets: list[MeshNode]) -> Iterator[Difference]:
    one = sources[0]
    other = targets[-1]
    before, after = old.access(one, other), new.access(one, other)
    names = tuple(node.name for node in sources), tuple(node.name for node in targets)
    for gains, have, lack in ((True, after, before), (False, before, after)):
        what = [*_more(have.ports, lack.ports), *sorted(have.others - lack.others)]
        if what:
            yield Difference(gains, *names, ", ".join(what))


@dataclass(frozen=True, slots=True)
class _Access:
    """Ports by protocol number; capabilities, routes and logins as words."""

    ports: dict[int, list[Range]]
    others: frozenset[str]


class _Side:
    """One of the two policies, by bits over its rules."""

    def __init__(self, policy: CompiledPolicy) -> None:
        self._policy = policy

    def key(self, node_id: NodeId) -> tuple[object, ...]:
        """What decides on the node's access, apart from its owner; routers stand alone."""
        entry = self._policy.members.entries[node_id]
        routes = (*entry.node.subnet_routes, *entry.node.exit_routes)
        return entry.masks, routes, node_id if routes else None

    def access(self, one: MeshNode, other: MeshNode) -> _Access:
        ports = {number: [_EVERY_PORT] for number in range(1, 256)} if self._policy.policy.allows_all else None
        rules = self._rules(one.id, other.id)
        return _Access(
            self._ports(rules, other.id) if ports is None else ports,
            frozenset((*self._capabilities(rules), *self._routes(one.id, other), *self._logins(one.id, other.id))),
        )

    def _rules(self, one: NodeId, other: NodeId) -> int:
        """Rules that let `one` through to addresses of `other`, as bits."""
        policy = self._policy
        source, target = policy.members.entries[one], policy.members.entries[other]
        owner = lone_owner(source.node)
        same: UserId | None = owner if owner is not None and owner == lone_owner(target.node) else None
        return mask_of(
            number
            for number, rule in enumerate(policy.rules.rules)
            if not rule.rule.via
            and policy.rules.sources[rule.source].holds(source.masks)
            and (same is not None if rule.is_self else rule.dst_mask & target.masks.own)
        )

    def _ports(self, rules: int, other: NodeId) -> dict[int, list[Range]]:
        found: dict[int, list[Range]] = defaultdict(list)
        for number in bits(rules):
            rule = self._policy.rules.rules[number]
            for destination in () if rule.is_app else rule.rule.destinations:
                if rule.is_self or other in self._policy.members.holders(destination.selector):
                    for protocol in rule.rule.protocol or DEFAULT_PROTOCOLS:
                        found[protocol] += destination.ports
        return found

    def _capabilities(self, rules: int) -> Iterator[str]:
        for number in bits(rules):
            for name, _ in self._policy.rules.rules[number].rule.app:
                yield f"capability {name}"

    def _routes(self, one: NodeId, other: MeshNode) -> Iterator[str]:
        steered = self._policy.steered(one, other.id)
        for route in (*other.subnet_routes, *other.exit_routes):
            usable = route not in steered.taken and self._policy.may_use(one, other.id, route)
            if usable or route in steered.given:
                yield f"route {route}"

    def _logins(self, one: NodeId, other: NodeId) -> Iterator[str]:
        for login in sorted({user for rule in self._policy.policy.ssh for user in rule.users}):
            name = "any login but root" if login == "autogroup:nonroot" else f"login {login}"
            rules = self._policy.ssh_rules(one, other, "\0" if login == "autogroup:nonroot" else login)
            if rules and not login.startswith("localpart:"):
                yield f"SSH {name}" + (" after a check" if rules[0].is_check else "")


def _more(have: dict[int, list[Range]], lack: dict[int, list[Range]]) -> Iterator[str]:
    """Ports of `have` that `lack` does not hold, in words; protocols with equal ports are named together."""
    by_ports: dict[str, list[int]] = defaultdict(list)
    for protocol, ranges in sorted(have.items()):
        left = without([(0, one) for one in ranges], [(0, one) for one in lack.get(protocol, [])])
        if left:
            by_ports[_ports_text([one for _, one in left])].append(protocol)
    for ports, protocols in by_ports.items():
        if len(protocols) > 200:
            word = "everything"
        elif set(protocols) == DEFAULT_PROTOCOLS:
            word = "TCP, UDP and ICMP"
        else:
            word = "/".join(PROTOCOL_WORDS.get(one, f"protocol {one}") for one in protocols)
        yield f"{word} {ports}"


def _ports_text(ranges: list[Range]) -> str:
    """`22, 8000-8010`; `*` for all."""
    parts = joined(ranges)
    if parts == [_EVERY_PORT]:
        return "*"
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
