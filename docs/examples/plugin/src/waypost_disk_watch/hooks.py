"""Hook implementations of `disk_watch`: they keep the state and delegate to pure modules."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.api import CommandReply, HealthItem, HostHandle, Metric, Panel, Service, hookimpl
from waypost_disk_watch.config import DiskWatchConfig
from waypost_disk_watch.metrics import metrics
from waypost_disk_watch.panel import panel
from waypost_disk_watch.rules import WatchState, as_lines, health_items
from waypost_disk_watch.service import Measuring


class DiskWatch:
    def __init__(self) -> None:
        self._state = WatchState()

    @hookimpl
    def appliance_configure(self, config: DiskWatchConfig) -> None:
        self._state.config = config

    @hookimpl
    def appliance_start(self, host: HostHandle) -> Sequence[Service]:
        return (Measuring(host, self._state),)

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
    def appliance_run_command(self, command: str) -> CommandReply:
        return CommandReply(as_lines(self._state))
