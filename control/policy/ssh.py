"""SSH rules toward one node, as on the wire (policy-and-management spec 2.7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from appliance.proto.control import messages as wire
from control.policy.members import lone_owner
from control.policy.selectors import Kind, Selector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from appliance.types.ids import NodeId, UserId
    from control.policy.facts import NodeFacts, UserFacts
    from control.policy.matching import SelectorTable
    from control.policy.members import Entry, Members
    from control.policy.model import Policy, SshRule

CHECK_URL = "https://unused/machine/ssh/action/$SRC_NODE_ID/to/$DST_NODE_ID?local_user=$LOCAL_USER"
"""Where a client asks for the outcome of a check: over its tunnel, whatever the host; it fills in the variables."""
RECORDER_PORT = 80
SSH_CAPABILITIES = ("https://tailscale.com/cap/ssh", "https://tailscale.com/cap/ssh-rule-in")
NONROOT = "autogroup:nonroot"
_LOCALPART = "localpart:*@"
_REJECTED = "this session must be recorded and no recorder answers"
_TERMINATED = "this session must be recorded and its recorder went away"


@dataclass(frozen=True, slots=True)
class _Rule:
    rule: SshRule
    src_mask: int
    dst_mask: int
    postures: int
    recorders: int
    to_self: bool
    domains: tuple[str, ...]
    """Domains of `localpart:` entries; their users log in by the first part of their e-mail address."""
    logins: Mapping[str, str]

    def is_source(self, entry: Entry) -> bool:
        satisfied = not self.postures or bool(self.postures & entry.masks.postures)
        return bool(self.src_mask & entry.masks.own) and satisfied


class SshTable:
    """SSH rules in the order of evaluation: checks first."""

    def __init__(self, policy: Policy, table: SelectorTable, users: Mapping[UserId, UserFacts]) -> None:
        self._users = users
        ordered = sorted(policy.ssh, key=lambda rule: not rule.is_check)
        self._table = table
        self._rules = [self._compile(rule) for rule in ordered if rule.sources and rule.destinations]

    def _compile(self, rule: SshRule) -> _Rule:
        targets = tuple(one for one in rule.destinations if one.kind is not Kind.SELF)
        return _Rule(
            rule=rule,
            src_mask=self._table.mask(rule.sources),
            dst_mask=self._table.mask(targets),
            postures=self._table.posture_mask(rule.postures),
            recorders=self._table.mask(tuple(_tag(tag) for tag in rule.recorders)),
            to_self=len(targets) < len(rule.destinations),
            domains=tuple(text.removeprefix(_LOCALPART).casefold() for text in rule.users if _is_localpart(text)),
            logins=_logins(rule.users),
        )

    def policy_of(self, node_id: NodeId, members: Members) -> wire.SshPolicy:
        """All rules toward the node; no rules = nobody."""
        entry = members.entries.get(node_id)
        if entry is None:
            return wire.SshPolicy()
        rules = (wired for rule in self._rules for wired in self._toward(entry, rule, members))
        return wire.SshPolicy(rules=list(rules))

    def attributes_of(self, entry: Entry) -> tuple[str, ...]:
        """CapMap keys of a node that some rule is for."""
        own_self = lone_owner(entry.node) is not None
        if any(rule.dst_mask & entry.masks.own or (rule.to_self and own_self) for rule in self._rules):
            return SSH_CAPABILITIES
        return ()

    def _toward(self, entry: Entry, rule: _Rule, members: Members) -> Iterator[wire.SshRule]:
        action = self._action(rule, members)
        owner = lone_owner(entry.node)
        if rule.to_self and owner is not None:
            own = [one for one in self._sources(rule, members) if lone_owner(one) == owner]
            yield from self._wired(rule, own, action)
        if rule.dst_mask & entry.masks.own:
            yield from self._wired(rule, self._sources(rule, members), action)
        elif rule.domains and rule.dst_mask and rule.is_source(entry):
            # logins by e-mail reach the source's own nodes too: stock policies count on it (spec 2.7)
            own = [one for one in self._sources(rule, members) if lone_owner(one) == owner]
            yield from self._wired(rule, own, action)

    def _sources(self, rule: _Rule, members: Members) -> list[NodeFacts]:
        """Source nodes, those of users by user id, then tagged ones."""
        found: dict[NodeId, NodeFacts] = {}
        for selector in rule.rule.sources:
            for node_id, node in members.holders(selector).items():
                if not rule.postures or rule.postures & members.entries[node_id].masks.postures:
                    found[node_id] = node
        return sorted(found.values(), key=_order)

    def _wired(self, rule: _Rule, sources: list[NodeFacts], action: wire.SshAction) -> Iterator[wire.SshRule]:
        if not sources:
            return
        env = list(rule.rule.accept_env)
        if not rule.domains:
            yield _wire_rule(sources, rule.logins, action, env)
            return
        by_user: dict[UserId | None, list[NodeFacts]] = {}
        for node in sources:
            by_user.setdefault(lone_owner(node), []).append(node)
        for user_id, nodes in by_user.items():
            yield _wire_rule(nodes, rule.logins, action, env)
            local = None if user_id is None else self._local_part(user_id, rule.domains)
            if local is not None:
                yield _wire_rule(nodes, {local: local}, action, env)

    def _local_part(self, user_id: UserId, domains: tuple[str, ...]) -> str | None:
        user = self._users.get(user_id)
        local, at, domain = ("" if user is None else user.email).rpartition("@")
        return local if at and local and domain.casefold() in domains else None

    def _action(self, rule: _Rule, members: Members) -> wire.SshAction:
        action = wire.SshAction(hold_and_delegate=CHECK_URL) if rule.rule.is_check else accept_action()
        if rule.recorders:
            found = {
                node.id: node
                for tag in rule.rule.recorders
                for node in members.holders(_tag(tag)).values()
            }  # fmt: skip
            action.recorders = [f"{found[node_id].ipv4}:{RECORDER_PORT}" for node_id in sorted(found)]
            if rule.rule.enforce_recorder:
                action.on_recording_failure = wire.SshRecorderFailureAction(
                    reject_session_with_message=_REJECTED, terminate_session_with_message=_TERMINATED
                )
        return action

    # Questions

    def matching(self, source: NodeId, target: NodeId, login: str, members: Members) -> Iterator[SshRule]:
        """Rules that let `source` log in to `target` as `login`, in the order of evaluation."""
        one, other = members.entries.get(source), members.entries.get(target)
        if one is None or other is None:
            return
        for rule in self._rules:
            owner = lone_owner(other.node)
            same = rule.to_self and owner is not None and owner == lone_owner(one.node)
            if rule.is_source(one) and (same or rule.dst_mask & other.masks.own) and self._lets(rule, one, login):
                yield rule.rule

    def _lets(self, rule: _Rule, source: Entry, login: str) -> bool:
        if rule.logins.get(login, "=" if login != "root" and "*" in rule.logins else ""):
            return True
        owner = lone_owner(source.node)
        return owner is not None and bool(rule.domains) and self._local_part(owner, rule.domains) == login

    def check_period(self, source: NodeId, target: NodeId, login: str, members: Members) -> float | None:
        """Seconds, from the first check rule; None without one."""
        found = (rule.check_period_s for rule in self.matching(source, target, login, members))
        return next((period for period in found if period is not None), None)

    # Changes

    def touched(self, before: Entry | None, after: Entry | None, members: Members) -> frozenset[NodeId]:
        """Nodes whose SSH policy may differ after one node's change."""
        if not self._rules or (before is not None and after is not None and _same(before, after)):
            return frozenset()
        found: set[NodeId] = set()
        for rule in self._rules:
            states = [state for state in (before, after) if state is not None]
            if any(rule.is_source(state) or rule.recorders & state.masks.own for state in states):
                found |= self._targets(rule, states, members)
        found.update(state.node.id for state in (after,) if state is not None)
        return frozenset(found)

    def _targets(self, rule: _Rule, states: list[Entry], members: Members) -> set[NodeId]:
        found: set[NodeId] = set()
        if rule.domains:
            found.update(node_id for selector in rule.rule.sources for node_id in members.holders(selector))
        for selector in rule.rule.destinations:
            if selector.kind is not Kind.SELF:
                found.update(members.holders(selector))
            elif any(rule.recorders & state.masks.own for state in states):
                found.update(node_id for nodes in members.untagged.values() for node_id in nodes)
            else:
                owners = {lone_owner(state.node) for state in states} - {None}
                found.update(node_id for owner in owners for node_id in members.untagged.get(owner, ()))  # type: ignore[arg-type]  # None is taken out
        return found


def accept_action() -> wire.SshAction:
    """Log in at once, with forwarding."""
    return wire.SshAction(
        accept=True,
        allow_agent_forwarding=True,
        allow_local_port_forwarding=True,
        allow_remote_port_forwarding=True,
    )


def _wire_rule(
    nodes: Iterable[NodeFacts], logins: Mapping[str, str], action: wire.SshAction, env: list[str]
) -> wire.SshRule:
    principals = [wire.SshPrincipal(node_ip=str(address)) for node in nodes for address in (node.ipv4, node.ipv6)]
    return wire.SshRule(principals=principals, ssh_users=dict(logins), action=action, accept_env=env)


def _logins(users: tuple[str, ...]) -> dict[str, str]:
    """`sshUsers`: asked name to local name; root is named always, "" = refused."""
    logins: dict[str, str] = {}
    if NONROOT in users:
        logins["*"] = "="
    logins["root"] = "root" if "root" in users else ""
    logins.update({name: name for name in users if name not in (NONROOT, "root") and not _is_localpart(name)})
    return logins


def _is_localpart(text: str) -> bool:
    domain = text.removeprefix(_LOCALPART)
    return text.startswith(_LOCALPART) and bool(domain) and not any(letter in domain for letter in "*@ ")


def _tag(name: str) -> Selector:
    return Selector(Kind.TAG, name)


def _order(node: NodeFacts) -> tuple[bool, int, int]:
    owner = lone_owner(node)
    return owner is None, owner or 0, node.id


def _same(one: Entry, other: Entry) -> bool:
    """Whether nothing that SSH rules look at differs."""
    return (one.masks.own, one.masks.postures, one.node.ipv4, one.node.ipv6, lone_owner(one.node)) == (
        other.masks.own, other.masks.postures, other.node.ipv4, other.node.ipv6, lone_owner(other.node),
    )  # fmt: skip
