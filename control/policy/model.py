"""The checked policy as values: what a document says, with the place of each rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from control.policy.selectors import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Network

    from appliance.types.addresses import Prefix
    from control.policy.postures import Posture
    from control.policy.problems import Place
    from control.policy.selectors import Selector

Ports = tuple[tuple[int, int], ...]
AppGrants = tuple[tuple[str, tuple[Any, ...]], ...]
"""Capability names with their JSON values, in the order of the document."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A destination and its inclusive port ranges; () in rules about capabilities."""

    selector: Selector
    ports: Ports


@dataclass(frozen=True, slots=True)
class Rule:
    """One accept rule in its normal form: an ACL, one `ip` item of a grant, or the `app` part of a grant.

    `protocol` () = TCP, UDP and ICMP. `postures`: the source must satisfy one of them, () = no condition. `via`: only
    nodes with one of these tags carry the traffic. `app` () = packets. `destinations` are all autogroup:self or none
    is. `gives_packets`: the grant that an app rule comes from also has `ip`.
    """

    place: Place
    sources: tuple[Selector, ...]
    destinations: tuple[Destination, ...]
    protocol: tuple[int, ...] = ()
    postures: tuple[str, ...] = ()
    via: tuple[str, ...] = ()
    app: AppGrants = ()
    gives_packets: bool = True

    @property
    def is_self(self) -> bool:
        return any(one.selector.kind is Kind.SELF for one in self.destinations)


@dataclass(frozen=True, slots=True)
class AutoApprovers:
    """Who may serve a route or a service, or be an exit node, without a person's approval."""

    routes: tuple[tuple[Prefix, tuple[Selector, ...]], ...] = ()
    exit_node: tuple[Selector, ...] = ()
    services: tuple[tuple[str, tuple[Selector, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class SshRule:
    """One rule of `ssh`. `check_period_s` None = accept at once, 0 = ask each time."""

    place: Place
    sources: tuple[Selector, ...]
    destinations: tuple[Selector, ...]
    users: tuple[str, ...]
    check_period_s: float | None = None
    accept_env: tuple[str, ...] = ()
    recorders: tuple[str, ...] = ()
    enforce_recorder: bool = False
    postures: tuple[str, ...] = ()

    @property
    def is_check(self) -> bool:
        return self.check_period_s is not None


@dataclass(frozen=True, slots=True)
class NodeAttrs:
    """One entry of `nodeAttrs`; `connectors` is the JSON list of app connectors with their tags."""

    place: Place
    targets: tuple[Selector, ...]
    attributes: tuple[str, ...] = ()
    connectors: tuple[Any, ...] = ()
    pools: tuple[IPv4Network, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyTest:
    """One entry of `tests`: what `source` must and must not reach; each target is (text, selector, port).

    `protocol` () = TCP, UDP and ICMP; `attributes` stand for the posture of the source.
    """

    place: Place
    source: Selector
    accept: tuple[tuple[str, Selector, int], ...] = ()
    deny: tuple[tuple[str, Selector, int], ...] = ()
    protocol: tuple[int, ...] = ()
    attributes: Mapping[str, str | float | bool] | None = None


@dataclass(frozen=True, slots=True)
class SshTest:
    """One entry of `sshTests`: logins that `source` gets, does not get, or gets after a check."""

    place: Place
    source: Selector
    destinations: tuple[Selector, ...]
    accept: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    check: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """A checked document. `acls` and `grants` both None = both sections are absent: everybody reaches everything.

    `node_settable`: custom attributes that nodes may set of themselves. `broadcasts`: custom attributes that maps show
    of peers, and to whom.
    """

    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hosts: Mapping[str, Prefix] = field(default_factory=dict)
    tag_owners: Mapping[str, tuple[Selector, ...]] = field(default_factory=dict)
    postures: Mapping[str, Posture] = field(default_factory=dict)
    acls: tuple[Rule, ...] | None = None
    grants: tuple[Rule, ...] | None = None
    ssh: tuple[SshRule, ...] = ()
    node_attrs: tuple[NodeAttrs, ...] = ()
    global_attrs: tuple[str, ...] = ()
    auto_approvers: AutoApprovers = field(default_factory=AutoApprovers)
    tests: tuple[PolicyTest, ...] = ()
    ssh_tests: tuple[SshTest, ...] = ()
    attribute_types: Mapping[str, str] = field(default_factory=dict)
    node_settable: frozenset[str] = frozenset()
    broadcasts: Mapping[str, tuple[Selector, ...]] = field(default_factory=dict)
    disable_ipv4: bool = False
    user_places: Mapping[str, Place] = field(default_factory=dict)

    @property
    def allows_all(self) -> bool:
        return self.acls is None and self.grants is None

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Grants, then ACLs, each in the order of the document."""
        return (*(self.grants or ()), *(self.acls or ()))


ALLOW_ALL = Policy()
