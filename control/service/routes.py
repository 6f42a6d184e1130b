"""Routes: list, approve, revoke."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING

from appliance.types.addresses import DEFAULT_V4, DEFAULT_V6
from control.service.actor import Permission
from control.service.errors import NotFoundError, ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from appliance.types.addresses import Prefix
    from control.service.actor import Actor
    from control.service.core import Core
    from control.service.nodes import NodeOperations
    from control.state.records import NodeRecord


@dataclass(frozen=True, slots=True)
class RouteState:
    """One route of one node. `primary`: it serves the subnet now. `well`: it could."""

    node: NodeRecord
    route: Prefix
    advertised: bool
    approved: bool
    primary: bool
    well: bool


class RouteOperations:
    def __init__(self, core: Core, nodes: NodeOperations) -> None:
        self._core = core
        self._nodes = nodes

    def list(self, actor: Actor, name: str | None = None) -> tuple[RouteState, ...]:
        """Routes of one node or of all."""
        actor.require(Permission.READ)
        nodes = self._nodes.list(actor) if name is None else (self._nodes.find(name),)
        return tuple(state for node in nodes for state in self._states(node))

    def _states(self, node: NodeRecord) -> Iterable[RouteState]:
        advertised, approved = set(node.advertised_routes), set(node.approved_routes)
        primary = set(self._core.model.primary_routes(node.id))
        well = self._core.router_rank(node.id) == 2
        for route in sorted(advertised | approved, key=_order):
            yield RouteState(node, route, route in advertised, route in approved, route in primary, well)

    async def approve(self, actor: Actor, name: str, routes: Sequence[str]) -> tuple[RouteState, ...]:
        """Let the node serve these routes; `exit` means both default routes, none means all that it advertises."""
        return await self._set(actor, name, parse_routes(routes), approve=True)

    async def revoke(self, actor: Actor, name: str, routes: Sequence[str]) -> tuple[RouteState, ...]:
        return await self._set(actor, name, parse_routes(routes), approve=False)

    async def _set(
        self, actor: Actor, name: str, routes: tuple[Prefix, ...], *, approve: bool
    ) -> tuple[RouteState, ...]:
        actor.require(Permission.ROUTES)
        async with self._core.change(actor) as draft:
            node = self._nodes.find(name)
            approved = set(node.approved_routes)
            routes = routes or (node.advertised_routes if approve else node.approved_routes)
            self._check(node, routes, approve)
            wanted = approved | set(routes) if approve else approved - set(routes)
            after = tuple(sorted(wanted, key=_order))
            await draft.patch_node(node.id, approved_routes=after)
            action = "route.approve" if approve else "route.revoke"
            await draft.audit(action, f"node:{node.id}", {"approved": node.approved_routes}, {"approved": after})
        return tuple(self._states(self._core.model.nodes[node.id]))

    def _check(self, node: NodeRecord, routes: tuple[Prefix, ...], approve: bool) -> None:
        known = node.advertised_routes if approve else (*node.approved_routes, *node.advertised_routes)
        for route in routes:
            if route not in known:
                shown = ", ".join(str(one) for one in node.advertised_routes) or "nothing"
                mend = f"{node.given_name} advertises {shown}"
                raise NotFoundError(f"{node.given_name} does not advertise {route}", mend=mend)


def parse_routes(texts: Sequence[str]) -> tuple[Prefix, ...]:
    """Networks from text, `exit` as both default routes. Raises `ServiceError`."""
    found: list[Prefix] = []
    for text in texts:
        if text == "exit":
            found += [DEFAULT_V4, DEFAULT_V6]
            continue
        try:
            found.append(ip_network(text))
        except ValueError:
            mend = "write it with zero host bits, as 192.168.1.0/24"
            raise ServiceError(f'not a network: "{text}"', mend=mend) from None
    return tuple(dict.fromkeys(found))


def _order(route: Prefix) -> tuple[int, int, int]:
    return route.version, int(route.network_address), route.prefixlen
