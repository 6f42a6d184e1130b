"""Hook implementations of `exit_node`: they keep the state and delegate to pure modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from appliance.api import (
    CommandReply,
    FirewallPart,
    HealthItem,
    HostFacts,
    HostHandle,
    HostinfoPart,
    Location,
    Metric,
    NetmapChange,
    OfferedRoutes,
    Panel,
    RouteSelection,
    Service,
    hookimpl,
)
from plugins.exit_node.commands import run_command
from plugins.exit_node.config import ExitNodeConfig
from plugins.exit_node.forwarder import ExitForwarder
from plugins.exit_node.health import health_items
from plugins.exit_node.metrics import metrics
from plugins.exit_node.panel import panel
from plugins.exit_node.proxies import ForwarderPlaces
from plugins.exit_node.rules import DEFAULTS, Measure, exit_of, guard_of, select_exit
from plugins.exit_node.service import ExitWatch
from plugins.exit_node.state import ExitState


class ExitNode:
    def __init__(self) -> None:
        self._state = ExitState()

    @hookimpl
    def appliance_configure(self, config: ExitNodeConfig) -> None:
        self._state = replace(self._state, config=config)

    @hookimpl
    def appliance_start(self, host: HostHandle) -> Sequence[Service]:
        watch = ExitWatch(host, lambda: self._state, self._learned, self._pick, self._uplink_seen)
        return (watch, ExitForwarder(host, lambda: self._state.config, self._forwarder_placed))

    @hookimpl
    def appliance_netmap_changed(self, change: NetmapChange) -> None:
        exits = {} if change.full else dict(self._state.exits)
        for stable_id in change.removed:
            exits.pop(stable_id, None)
        for peer in change.changed:
            found = exit_of(peer)
            if found is not None:
                exits[peer.stable_id] = found
            else:
                exits.pop(peer.stable_id, None)
        approved = self._state.approved if change.self_node is None else change.self_node.routes
        self._state = replace(self._state, exits=exits, approved=approved)

    @hookimpl
    def appliance_contribute_hostinfo(self) -> HostinfoPart:
        chosen = self._state.chosen
        location = self._state.config.location
        return HostinfoPart(
            exit_node=chosen.stable_id if chosen is not None else "",
            location=location if location != Location() else None,
        )

    @hookimpl
    def appliance_contribute_routes(self) -> Sequence[str]:
        return DEFAULTS if self._state.offers else ()

    @hookimpl
    def appliance_accept_routes(self, offered: OfferedRoutes) -> RouteSelection | None:
        return select_exit(offered, self._state.chosen)

    @hookimpl
    def appliance_contribute_firewall(self) -> FirewallPart:
        config = self._state.config
        return FirewallPart(
            forwarded=DEFAULTS if config.advertise else (), guard=guard_of(config), uplink=self._state.uplink
        )

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

    @hookimpl
    def appliance_run_command(self, command: str, arguments: tuple[str, ...]) -> CommandReply:
        return run_command(self._state, command, arguments)

    def _learned(self, measures: Mapping[str, Measure]) -> None:
        self._state = replace(self._state, measures=dict(measures))

    def _forwarder_placed(self, places: ForwarderPlaces) -> None:
        self._state = replace(self._state, forwarder=places)

    def _uplink_seen(self, is_up: bool, withdrawn: bool) -> None:
        self._state = replace(self._state, uplink_up=is_up, withdrawn=withdrawn)

    def _pick(self, stable_id: str) -> None:
        moved = bool(stable_id) and self._state.picked not in ("", stable_id)
        self._state = replace(self._state, picked=stable_id, moves=self._state.moves + moved)
