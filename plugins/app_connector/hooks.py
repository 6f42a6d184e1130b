"""Hook implementations of `app_connector`: they tell the connector and delegate to pure modules."""

from __future__ import annotations

import json
from collections.abc import Sequence

from appliance.api import (
    CommandReply,
    FirewallPart,
    HealthItem,
    HostFacts,
    HostHandle,
    HostinfoPart,
    Metric,
    NetmapChange,
    Panel,
    Service,
    hookimpl,
)
from plugins.app_connector.config import AppConnectorConfig
from plugins.app_connector.connector import Connector
from plugins.app_connector.health import health_items
from plugins.app_connector.metrics import metrics
from plugins.app_connector.panel import panel
from plugins.app_connector.service import AnswerWatch


class AppConnector:
    def __init__(self) -> None:
        self._connector = Connector()

    @hookimpl
    def appliance_configure(self, config: AppConnectorConfig) -> None:
        self._connector.configure(config)

    @hookimpl
    def appliance_start(self, host: HostHandle) -> Sequence[Service]:
        return (AnswerWatch(host, self._connector),)

    @hookimpl
    def appliance_netmap_changed(self, change: NetmapChange) -> None:
        self._connector.netmap_changed(change)

    @hookimpl
    def appliance_contribute_hostinfo(self) -> HostinfoPart:
        return HostinfoPart(flags={"AppConnector": self._connector.state.config.advertise})

    @hookimpl
    def appliance_contribute_routes(self) -> Sequence[str]:
        return self._connector.state.routes

    @hookimpl
    def appliance_contribute_firewall(self) -> FirewallPart:
        return FirewallPart(forwarded=self._connector.state.routes)

    @hookimpl
    def appliance_check_health(self, facts: HostFacts) -> Sequence[HealthItem]:
        self._connector.note(facts=facts)
        return health_items(self._connector.state)

    @hookimpl
    def appliance_status_panel(self) -> Panel:
        return panel(self._connector.state)

    @hookimpl
    def appliance_metrics(self) -> Sequence[Metric]:
        return metrics(self._connector.state)

    @hookimpl
    def appliance_run_command(self, command: str) -> CommandReply:
        if command != "routes":
            return CommandReply("usage: routes", ok=False)
        connector = self._connector
        return CommandReply(
            json.dumps({"routes": list(connector.state.routes), "domains": connector.learned.by_domain()})
        )
