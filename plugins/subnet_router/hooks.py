"""Hook implementations of `subnet_router`: they keep the state and delegate to pure modules."""

from __future__ import annotations

from collections.abc import Sequence
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
        return (LanWatch(host),)

    @hookimpl
    def appliance_netmap_changed(self, change: NetmapChange) -> None:
        if change.full:
            self._offering.clear()
        self._offering.difference_update(change.removed)
        for peer in change.changed:
            self._note(peer)
        approved = self._state.approved if change.self_node is None else change.self_node.routes
        self._state = replace(self._state, approved=approved, offering=len(self._offering))

    @hookimpl
    def appliance_contribute_routes(self) -> Sequence[str]:
        return self._state.config.advertise_routes

    @hookimpl
    def appliance_accept_routes(
        self, offered: tuple[OfferedRoute, ...], attached: tuple[AttachedPrefix, ...]
    ) -> RouteSelection:
        config = self._state.config
        chosen = select_routes(offered if config.accept_routes else (), attached, config.advertise_routes)
        self._state = replace(self._state, selection=chosen)
        return chosen

    @hookimpl
    def appliance_contribute_firewall(self) -> FirewallPart:
        config = self._state.config
        return FirewallPart(forwarded=config.advertise_routes, snat=config.snat)

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

    def _note(self, peer: NodeInfo) -> None:
        if offers_subnets(peer.routes):
            self._offering.add(peer.stable_id)
        else:
            self._offering.discard(peer.stable_id)
