"""Hook implementations of `subnet_router`: they keep the state and delegate to pure modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from appliance.api import (
    AttachedPrefix,
    CommandReply,
    FirewallPart,
    HealthItem,
    HostFacts,
    HostHandle,
    HostinfoPart,
    HostinfoService,
    Metric,
    NetmapChange,
    NodeInfo,
    OfferedRoutes,
    Panel,
    QueueTraffic,
    RouteSelection,
    Service,
    hookimpl,
)
from appliance.types.translated import SERVICE
from plugins.subnet_router.commands import run_command
from plugins.subnet_router.config import SubnetRouterConfig
from plugins.subnet_router.health import health_items
from plugins.subnet_router.judge import RouteJudge
from plugins.subnet_router.limit_service import LimitService
from plugins.subnet_router.metrics import metrics
from plugins.subnet_router.panel import panel
from plugins.subnet_router.rules import offers_subnets
from plugins.subnet_router.service import LanWatch
from plugins.subnet_router.shaping import NamedPeers
from plugins.subnet_router.state import RouterState
from plugins.subnet_router.translation import TranslationService


class SubnetRouter:
    def __init__(self) -> None:
        self._state = RouterState()
        self._named = NamedPeers()
        self._judge = RouteJudge()
        self._translation: TranslationService | None = None
        self._watch: LanWatch | None = None
        self._offering: set[str] = set()
        """Stable ids of peers that offer subnets."""

    @hookimpl
    def appliance_configure(self, config: SubnetRouterConfig) -> None:
        self._named.want(config.parsed_limits)
        self._state = replace(self._state, config=config, limited=self._named.prefixes)

    @hookimpl
    def appliance_start(self, host: HostHandle) -> Sequence[Service]:
        self._translation = TranslationService(host, lambda: self._state.translation_plan)
        self._watch = LanWatch(host, lambda: self._state, self._saw, self._gate)
        limits = LimitService(host, self._named, self._looked, lambda: bool(self._state.shapes), self._counted)
        return (self._watch, self._translation, limits)

    def _looked(self) -> None:
        self._state = replace(self._state, limited=self._named.prefixes)

    def _counted(self, traffic: Mapping[str, QueueTraffic]) -> None:
        self._state = replace(self._state, traffic=traffic)

    @hookimpl
    def appliance_netmap_changed(self, change: NetmapChange) -> None:
        if change.full:
            self._offering.clear()
            self._named.clear()
        self._offering.difference_update(change.removed)
        for stable_id in change.removed:
            self._named.forget(stable_id)
        for peer in change.changed:
            self._note(peer)
            self._named.note(peer)
        node = change.self_node
        if node is not None:
            in_charge_before = self._state.primary
            self._state = replace(self._state, name=node.name, approved=node.routes, primary=node.primary)
            self._look_soon(changed=node.primary != in_charge_before)
        self._state = replace(self._state, offering=len(self._offering), limited=self._named.prefixes)

    @hookimpl
    def appliance_contribute_hostinfo(self) -> HostinfoPart:
        """By it peers know the names of the site's hosts."""
        told = enumerate(self._state.config.translate, 1)
        return HostinfoPart(services=tuple(HostinfoService(SERVICE, number, text) for number, text in told))

    @hookimpl
    def appliance_contribute_routes(self) -> Sequence[str]:
        return self._state.offered

    @hookimpl
    def appliance_accept_routes(self, offered: OfferedRoutes, attached: tuple[AttachedPrefix, ...]) -> RouteSelection:
        config = self._state.config
        self._look_soon(changed=attached != self._state.attached)
        self._state = replace(self._state, attached=attached)
        usable = offered if config.accept_routes else OfferedRoutes()
        chosen = config.refuse_routes, config.accept_only, config.own_first, config.mesh_first
        judged = self._judge.judge(usable, attached, self._state.wanted, *chosen)
        self._state = replace(self._state, judged=judged)
        return judged.selection

    @hookimpl
    def appliance_contribute_firewall(self) -> FirewallPart:
        config = self._state.config
        return FirewallPart(
            forwarded=self._state.wanted,
            snat=config.snat,
            translations=config.translations,
            shapes=self._state.shapes,
        )

    @hookimpl
    def appliance_check_health(self, facts: HostFacts) -> Sequence[HealthItem]:
        self._state = replace(self._state, facts=facts)
        return health_items(self._now())

    @hookimpl
    def appliance_status_panel(self) -> Panel:
        return panel(self._now())

    @hookimpl
    def appliance_metrics(self) -> Sequence[Metric]:
        return metrics(self._now())

    @hookimpl
    def appliance_run_command(self, command: str, arguments: tuple[str, ...]) -> CommandReply:
        return run_command(self._now(), command, arguments)

    def _now(self) -> RouterState:
        """The state with what the translator counts."""
        return replace(self._state, translation=self._translation.view if self._translation is not None else None)

    def _look_soon(self, *, changed: bool) -> None:
        """The other router of a pair is down, or a cable: hosts wait."""
        if changed and self._watch is not None:
            self._watch.nudge.give()

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
