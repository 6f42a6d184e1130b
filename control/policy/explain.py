"""Why a source reaches a destination, or what is missing and the smallest rule that would let it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING

from appliance.types.errors import ApplianceError
from control.policy.compiled import CompiledPolicy
from control.policy.reach import DEFAULT_PROTOCOLS, Reach, Target
from control.policy.selectors import Kind, Names, SelectorError, parse_network, parse_selector

if TYPE_CHECKING:
    from appliance.types.addresses import Prefix
    from appliance.types.ids import NodeId
    from control.policy.meshfile import MeshNode
    from control.policy.problems import Place
    from control.policy.rules import CompiledRule
    from control.policy.selectors import Selector


class QuestionError(ApplianceError):
    """The question names nobody."""

    code = "question"


@dataclass(frozen=True, slots=True)
class End:
    """One end of the question: how the policy would call it, and its addresses."""

    names: tuple[str, ...]
    prefixes: tuple[Prefix, ...]

    @property
    def text(self) -> str:
        return " and ".join(self.names)


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A rule that would let the source if one thing were different."""

    place: Place
    lacks: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """`rules`: places of the rules that let it. `via`: routers that carry it by a grant with `via`.

    `missing`, `line`: only where it is refused.
    """

    allowed: bool
    rules: tuple[Place, ...]
    missing: tuple[NearMiss, ...] = ()
    section: str = ""
    line: str = ""
    via: tuple[NodeId, ...] = ()


def find_end(policy: CompiledPolicy, nodes: dict[str, MeshNode], text: str) -> End:
    """A node by name or address, a user, group, tag, host or network. Raises `QuestionError`."""
    node = nodes.get(text) or next((one for one in nodes.values() if text in (str(one.ipv4), str(one.ipv6))), None)
    if node is not None:
        return End(_call(policy, node), (ip_network(node.ipv4), ip_network(node.ipv6)))
    names = Names(policy.policy.groups, policy.policy.hosts, policy.policy.tag_owners, {})
    try:
        selector = parse_selector(text, names)
    except SelectorError as error:
        raise QuestionError(f'"{text}" is nobody: {error.text}', mend=error.mend or "name a node") from None
    prefixes = selector.networks or _of(policy, selector)
    if not prefixes or selector.kind in (Kind.SELF, Kind.INTERNET):
        raise QuestionError(f'no node is "{text}" now', mend="name a node, an address, a user or a tag")
    return End((selector.text,), prefixes)


def _of(policy: CompiledPolicy, selector: Selector) -> tuple[Prefix, ...]:
    """Addresses of the nodes of a selector that no rule names."""
    wanted = CompiledPolicy(policy.policy, policy.users.values(), policy.nodes, policy.members.services, (selector,))
    return Reach(wanted).prefixes(selector)


def _call(policy: CompiledPolicy, node: MeshNode) -> tuple[str, ...]:
    """The narrowest names: the tag, a user with this one node, else the addresses."""
    if node.tags:
        known = [tag for tag in node.tags if tag in policy.policy.tag_owners]
        return (known[0],) if len(known) == 1 else (str(node.ipv4), str(node.ipv6))
    user = None if node.user_id is None else policy.users.get(node.user_id)
    if user is None or node.user_id is None or len(policy.members.untagged.get(node.user_id, ())) > 1:
        return str(node.ipv4), str(node.ipv6)
    return (user.email or user.name + "@",)


def explain(policy: CompiledPolicy, source: End, target: End, port: int, protocol: int | None) -> Explanation:
    """Whether every address of the source reaches the target, and by which rules."""
    if policy.policy.allows_all:
        return Explanation(allowed=True, rules=())
    protocols = DEFAULT_PROTOCOLS if protocol is None else frozenset({protocol})
    wanted = Target(target.prefixes, port, protocols)
    reach = Reach(policy)
    letting: dict[Place, None] = {}
    via: set[NodeId] = set()
    allowed = bool(source.prefixes)
    for prefix in source.prefixes:
        rules = list(reach.letting(prefix, wanted))
        allowed = allowed and bool(rules)
        letting.update(dict.fromkeys(rule.rule.place for rule in rules))
        via.update(node_id for rule in rules if rule.rule.via for node_id in reach.carriers(rule, target.prefixes))
    if allowed:
        return Explanation(allowed=True, rules=tuple(letting), via=tuple(sorted(via)))
    misses = tuple(miss for rule in policy.rules.rules for miss in _near(reach, rule, source, wanted))
    section = "acls" if policy.policy.grants is None else "grants"
    line = _line(section, source, target, port, protocol)
    return Explanation(False, tuple(letting), tuple(dict.fromkeys(misses))[:10], section, line)


def _near(reach: Reach, rule: CompiledRule, source: End, target: Target) -> list[NearMiss]:
    """The rule, if all but one of source, destination, port, protocol and router fit."""
    if rule.is_app or rule.is_self:
        return []
    destinations = rule.rule.destinations
    protocols = frozenset(rule.rule.protocol) or DEFAULT_PROTOCOLS
    from_source = any(reach.source_set(rule.source).overlaps(prefix) for prefix in source.prefixes)
    to_target = [one for one in destinations if reach.reaches(one.selector, target.prefixes)]
    ports = any(first <= target.port <= last for one in to_target or destinations for first, last in one.ports)
    lacks = [
        text
        for good, text in (
            (from_source, f"its sources do not hold {source.text}"),
            (bool(to_target), "its destinations do not hold the target"),
            (ports, f"its ports do not hold {target.port}"),
            (bool(protocols & target.protocols), "its protocol is another"),
            (not rule.rule.via or bool(reach.carriers(rule, target.prefixes)), _no_router(rule)),
        )
        if not good
    ]
    return [NearMiss(rule.rule.place, lacks[0])] if len(lacks) == 1 else []


def _no_router(rule: CompiledRule) -> str:
    return f"no router with {' or '.join(rule.rule.via)} serves a route to the target"


_WORDS = {6: "tcp", 17: "udp", 132: "sctp"}


def _line(section: str, source: End, target: End, port: int, protocol: int | None) -> str:
    """The smallest rule that lets it, as it stands in a policy."""
    word = None if protocol is None else _WORDS.get(protocol, str(protocol))
    if section == "grants":
        ip = str(port) if word is None else f"{word}:{port}"
        return json.dumps({"src": [*source.names], "dst": [*target.names], "ip": [ip]})
    names = (f"[{name}]" if ":" in name and parse_network(name) else name for name in target.names)
    rule = {"action": "accept", "src": [*source.names], "dst": [f"{name}:{port}" for name in names]}
    return json.dumps(rule if word is None else {**rule, "proto": word})
