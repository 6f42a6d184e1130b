"""Hook implementations of `mdns_reflector`: they keep the state and delegate to pure modules."""

from __future__ import annotations

import time
from collections.abc import Sequence

from appliance.api import CommandReply, HealthItem, HostHandle, Metric, NetmapChange, Panel, Service, hookimpl
from plugins.mdns_reflector.commands import run_command
from plugins.mdns_reflector.config import MdnsReflectorConfig
from plugins.mdns_reflector.health import health_items
from plugins.mdns_reflector.metrics import metrics
from plugins.mdns_reflector.panel import panel
from plugins.mdns_reflector.service import Reflection
from plugins.mdns_reflector.state import ReflectorState


class MdnsReflector:
    def __init__(self) -> None:
        self._state = ReflectorState()

    @hookimpl
    def appliance_configure(self, config: MdnsReflectorConfig) -> None:
        self._state.configure(config)

    @hookimpl
    def appliance_start(self, host: HostHandle) -> Sequence[Service]:
        return (Reflection(host, self._state, time.monotonic),)

    @hookimpl
    def appliance_netmap_changed(self, change: NetmapChange) -> None:
        self._state.netmap_changed(change)

    @hookimpl
    def appliance_check_health(self) -> Sequence[HealthItem]:
        return health_items(self._state)

    @hookimpl
    def appliance_status_panel(self) -> Panel:
        return panel(self._state)

    @hookimpl
    def appliance_metrics(self) -> Sequence[Metric]:
        return metrics(self._state)

    @hookimpl
    def appliance_run_command(self, command: str, arguments: tuple[str, ...]) -> CommandReply:
        return run_command(self._state, command, arguments, time.monotonic())
