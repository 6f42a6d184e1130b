"""Hook implementations of `subnet_router`: they keep the state and delegate to pure modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from appliance.api import (
    AttachedPrefix,
    FirewallPart,
    HealthItem,
    HostFacts,
    HostHandle,
    Metric,
    NetmapChange,
    NodeInfo,
    OfferedRoute,
    Panel,
    RouteSelection,
    Service,
    hookimpl,
)
from plugins.subnet_router.config import SubnetRouterConfig
from plugins.subnet_router.health import health_items
from plugins.subnet_router.metrics import metrics
from plugins.subnet_router.panel import panel
from plugins.subnet_router.rules import offers_subnets, select_routes
from plugins.subnet_router.service import LanWatch
from plugins.subnet_router.state import RouterState


class SubnetRouter:
    def __init__(self) -> None:
        self._state = RouterState()
        self._offering: set[str] = set()
        """Stable ids of peers that offer subnets."""

    @hookimpl
    def appliance_configure(self, config: SubnetRouterConfig) -> None:
        self._state = replace(self._state, config=config)

    @hookimpl
    def appliance_start(self, host: HostHandle) -> Sequence[Service]:
        return (LanWatch(host, lambda: self._state, self._saw, self._gate),)

    @hookimpl
    def appliance_netmap_changed(self, change: NetmapChange) -> None:
        if change.full:
            self._offering.clear()
        self._offering.difference_update(change.removed)
        for peer in change.changed:
            self._note(peer)
        node = change.self_node
        if node is not None:
            self._state = replace(self._state, approved=node.routes, primary=node.primary)
        self._state = replace(self._state, offering=len(self._offering))

    @hookimpl
    def appliance_contribute_routes(self) -> Sequence[str]:
        return self._state.offered

    @hookimpl
    def appliance_accept_routes(
        self, offered: tuple[OfferedRoute, ...], attached: tuple[AttachedPrefix, ...]
    ) -> RouteSelection:
        config = self._state.config
        self._state = replace(self._state, attached=attached)
        usable = offered if config.accept_routes else ()
        chosen = select_routes(usable, attached, self._state.wanted, config.refuse_routes)
        self._state = replace(self._state, selection=chosen)
        return chosen

    @hookimpl
    def appliance_contribute_firewall(self) -> FirewallPart:
        return FirewallPart(forwarded=self._state.wanted, snat=self._state.config.snat)

    @hookimpl
    def appliance_check_health(self, facts: HostFacts) -> Sequence[HealthItem]:
        self._state = replace(self._state, facts=facts)
        return health_items(self._state)

    @hookimpl
    def appliance_status_panel(self) -> Panel:
        return panel(self._state)

    @hookimpl
    def appliance_metrics(self) -> Sequence[Metric]:
        return metrics(self._state)

    def _saw(self, attached: tuple[AttachedPrefix, ...]) -> None:
        self._state = replace(self._state, attached=attached)

    def _gate(self, lost: Mapping[str, str]) -> None:
        more = len(lost.keys() - self._state.lost.keys())
        self._state = replace(self._state, lost=dict(lost), withdrawals=self._state.withdrawals + more)

    def _note(self, peer: NodeInfo) -> None:
        if offers_subnets(peer.routes):
            self._offering.add(peer.stable_id)
        else:
            self._offering.discard(peer.stable_id)
