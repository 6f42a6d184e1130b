"""What the policy needs to know of nodes and users; the records of `control.state` fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from control.policy.selectors import Kind, Selector

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from ipaddress import IPv4Address, IPv6Address

    from appliance.types.addresses import Prefix
    from appliance.types.ids import NodeId, UserId
    from control.policy.model import Policy
    from control.policy.postures import AttributeValue


class UserFacts(Protocol):
    @property
    def id(self) -> UserId: ...
    @property
    def name(self) -> str: ...
    @property
    def email(self) -> str: ...
    @property
    def role(self) -> str: ...


class NodeFacts(Protocol):
    """`subnet_routes` and `exit_routes` are advertised and approved; `services` names of services that
    it may host; `attributes` are what postures look at."""

    @property
    def id(self) -> NodeId: ...
    @property
    def user_id(self) -> UserId | None: ...
    @property
    def tags(self) -> tuple[str, ...]: ...
    @property
    def ipv4(self) -> IPv4Address: ...
    @property
    def ipv6(self) -> IPv6Address: ...
    @property
    def subnet_routes(self) -> tuple[Prefix, ...]: ...
    @property
    def exit_routes(self) -> tuple[Prefix, ...]: ...
    @property
    def services(self) -> tuple[str, ...]: ...
    @property
    def attributes(self) -> Mapping[str, AttributeValue]: ...


def is_called(user: UserFacts, name: str) -> bool:
    """Whether the policy means this user by `name`: the e-mail address or the name, in any case of letters."""
    folded = name.casefold()
    return folded in (user.name.casefold(), user.email.casefold())


def selects_user(selector: Selector, policy: Policy, user: UserFacts) -> bool:
    """Whether a selector of people (user, domain, group, member, role) means this user."""
    if selector.kind is Kind.MEMBER:
        return True
    if selector.kind is Kind.ROLE:
        return user.role == selector.value
    if selector.kind is Kind.USER:
        return is_called(user, selector.value)
    if selector.kind is Kind.DOMAIN:
        return user.email.casefold().endswith("@" + selector.value)
    if selector.kind is Kind.GROUP:
        return any(is_called(user, name) for name in policy.groups.get(selector.value, ()))
    return False


def owns_tag(policy: Policy, user: UserFacts, tag: str) -> bool:
    """Whether tagOwners lets the user give the tag; owner tags nest, cycles contribute nothing."""
    pending, seen = [tag], {tag}
    while pending:
        for selector in policy.tag_owners.get(pending.pop(), ()):
            if selects_user(selector, policy, user):
                return True
            if selector.kind is Kind.TAG and selector.value not in seen:
                seen.add(selector.value)
                pending.append(selector.value)
    return False


def auto_approved(policy: Policy, node: NodeFacts, owner: UserFacts | None, routes: Iterable[Prefix]) -> set[Prefix]:
    """Which of the advertised `routes` autoApprovers allow this node: exact or covering network; /0 by exitNode."""
    approvers = policy.auto_approvers

    def selected(selectors: tuple[Selector, ...]) -> bool:
        return any(_selects_node(selector, policy, node, owner) for selector in selectors)

    approved: set[Prefix] = set()
    for route in routes:
        if route.prefixlen == 0:
            if selected(approvers.exit_node):
                approved.add(route)
        elif any(_covers(network, route) and selected(selectors) for network, selectors in approvers.routes):
            approved.add(route)
    return approved


def auto_approves_service(
    policy: Policy, node: NodeFacts, owner: UserFacts | None, service: str, tags: Iterable[str] = ()
) -> bool:
    """Whether autoApprovers let the node host a service, named itself or by one of its tags."""
    names = {service, *tags}
    return any(
        _selects_node(selector, policy, node, owner)
        for name, selectors in policy.auto_approvers.services
        if name in names
        for selector in selectors
    )


def _selects_node(selector: Selector, policy: Policy, node: NodeFacts, owner: UserFacts | None) -> bool:
    if node.tags:
        return selector.kind is Kind.TAG and selector.value in node.tags
    return owner is not None and selects_user(selector, policy, owner)


def _covers(network: Prefix, route: Prefix) -> bool:
    return network.version == route.version and route.subnet_of(network)  # type: ignore[arg-type]  # same version
