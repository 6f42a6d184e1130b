"""Hook implementations of `wake_on_lan`: they keep the state and delegate to pure modules."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.api import CommandReply, HealthItem, HostHandle, Metric, Panel, Service, hookimpl
from plugins.wake_on_lan.commands import run_command
from plugins.wake_on_lan.config import WakeOnLanConfig
from plugins.wake_on_lan.health import health_items
from plugins.wake_on_lan.learner import Learner
from plugins.wake_on_lan.metrics import metrics
from plugins.wake_on_lan.panel import panel
from plugins.wake_on_lan.service import Waker
from plugins.wake_on_lan.state import WakeState


class WakeOnLan:
    def __init__(self) -> None:
        self._state = WakeState()

    @hookimpl
    def appliance_configure(self, config: WakeOnLanConfig) -> None:
        self._state.hosts, self._state.learns = config.targets(), config.learn

    @hookimpl
    def appliance_start(self, host: HostHandle) -> Sequence[Service]:
        return (Waker(host, self._state), Learner(host, self._state))

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
        return run_command(self._state, command, arguments)
