"""Hook implementations of `doctor`: they keep the state and delegate to pure modules."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace

from appliance.api import CommandReply, Finding, HealthItem, HostHandle, Metric, Panel, Service, hookimpl
from plugins.doctor.config import DoctorConfig
from plugins.doctor.metrics import metrics
from plugins.doctor.panel import panel
from plugins.doctor.rules import health_items, report
from plugins.doctor.service import Rounds
from plugins.doctor.state import DoctorState


class Doctor:
    def __init__(self) -> None:
        self._state = DoctorState()

    @hookimpl
    def appliance_configure(self, config: DoctorConfig) -> None:
        self._state = replace(self._state, config=config)

    @hookimpl
    def appliance_start(self, host: HostHandle) -> Sequence[Service]:
        return (Rounds(host, lambda: self._state.config, self._found),)

    @hookimpl
    def appliance_check_health(self) -> Sequence[HealthItem]:
        return health_items(self._state.findings, self._state.config.ignore)

    @hookimpl
    def appliance_status_panel(self) -> Panel:
        return panel(self._state)

    @hookimpl
    def appliance_metrics(self) -> Sequence[Metric]:
        return metrics(self._state)

    @hookimpl
    def appliance_run_command(self, command: str, arguments: tuple[str, ...]) -> CommandReply:
        """`report`: the one command."""
        if arguments not in ((), ("--json",)):
            return CommandReply(f"{command} takes --json only", ok=False)
        if arguments:
            return CommandReply(json.dumps([asdict(each) for each in self._state.findings]))
        return CommandReply(report(self._state.findings))

    def _found(self, findings: tuple[Finding, ...]) -> None:
        self._state = replace(self._state, findings=findings, examinations=self._state.examinations + 1)
