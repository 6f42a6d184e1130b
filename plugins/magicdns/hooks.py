"""Hook implementations of `magicdns`: they tell the core and delegate to pure modules."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.api import (
    CommandReply,
    FirewallPart,
    HealthItem,
    HostHandle,
    Metric,
    NetmapChange,
    Panel,
    Service,
    hookimpl,
)
from appliance.types.addresses import SERVICE_V4, SERVICE_V6
from plugins.magicdns.commands import Commands
from plugins.magicdns.config import MagicDnsConfig
from plugins.magicdns.core import Core
from plugins.magicdns.health import health_items
from plugins.magicdns.metrics import metrics
from plugins.magicdns.panel import panel
from plugins.magicdns.service import DnsService


class MagicDns:
    def __init__(self) -> None:
        self._core = Core()
        self._commands = Commands(self._core)

    @hookimpl
    def appliance_configure(self, config: MagicDnsConfig) -> None:
        self._core.configure(config)

    @hookimpl
    def appliance_start(self, host: HostHandle) -> Sequence[Service]:
        return (DnsService(host, self._core),)

    @hookimpl
    def appliance_netmap_changed(self, change: NetmapChange) -> None:
        self._core.netmap_changed(change)

    @hookimpl
    def appliance_contribute_firewall(self) -> FirewallPart:
        versions = self._core.state.versions()
        return FirewallPart(
            service_addresses=tuple(str(each) for each in (SERVICE_V4, SERVICE_V6) if each.version in versions)
        )

    @hookimpl
    def appliance_check_health(self) -> Sequence[HealthItem]:
        return health_items(self._core.state)

    @hookimpl
    def appliance_status_panel(self) -> Panel:
        self._core.measure()
        return panel(self._core.state)

    @hookimpl
    def appliance_metrics(self) -> Sequence[Metric]:
        self._core.measure()
        return metrics(self._core.state)

    @hookimpl
    def appliance_run_command(self, command: str, arguments: tuple[str, ...]) -> CommandReply:
        return self._commands.run(command, arguments)
