"""The plugin as the core sees it."""

from __future__ import annotations

import asyncio
import json

import pytest

from appliance.api import Finding, RefreshKind, SettingError
from appliance.api.testing import FakeHost, PluginContract
from appliance.types.errors import Severity
from plugins.doctor.config import DoctorConfig
from plugins.doctor.hooks import Doctor
from plugins.doctor.service import FIRST_S

FINDINGS = (
    Finding("mtu", "failed", "large packets vanish", "let ICMP pass"),
    Finding("clock", "warning", "nothing keeps it", "keep it"),
    Finding("control", "failed", "away", "look"),
    Finding("disk", "ok", "room"),
)


class TestContract(PluginContract):
    plugin_class = Doctor
    config = DoctorConfig()
    arguments = {"appliance_run_command": {"command": "report"}}  # noqa: RUF012  # as the base class says


async def examined(host: FakeHost, config: DoctorConfig, rounds: int = 1) -> Doctor:
    plugin = Doctor()
    plugin.appliance_configure(config)
    (service,) = plugin.appliance_start(host)
    task = asyncio.ensure_future(service.run())
    await host.time.pass_time(FIRST_S + (rounds - 1) * 60.0 * config.interval_minutes)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return plugin


async def test_ok__findings_become_health_and_panel(fake_host: FakeHost) -> None:
    fake_host.findings = FINDINGS
    plugin = await examined(fake_host, DoctorConfig())
    items = {item.code: item.severity for item in plugin.appliance_check_health()}
    assert items == {"mtu": Severity.HIGH, "clock": Severity.LOW}, "the core says that control is away"
    rows = {row.label: row for row in plugin.appliance_status_panel().rows}
    assert rows["mtu"].bad
    assert rows["mtu"].detail == "let ICMP pass"
    assert rows["Looks"].value == "1 of 4 well"
    assert {kind for kind, _ in fake_host.refreshes} == {RefreshKind.STATUS}
    report = plugin.appliance_run_command("report", ())
    assert "large packets vanish → let ICMP pass" in report.text
    assert json.loads(plugin.appliance_run_command("report", ("--json",)).text)[0]["check"] == "mtu"
    assert not plugin.appliance_run_command("report", ("--xml",)).ok


async def test_ok__ignored_ones_are_shown_but_not_raised(fake_host: FakeHost) -> None:
    fake_host.findings = FINDINGS
    plugin = await examined(fake_host, DoctorConfig(ignore=("mtu", "clock")))
    assert plugin.appliance_check_health() == ()
    assert "mtu" in {row.label for row in plugin.appliance_status_panel().rows}


async def test_ok__looked_at_anew(fake_host: FakeHost) -> None:
    plugin = await examined(fake_host, DoctorConfig(interval_minutes=5), rounds=3)
    values = {metric.name: metric.value for metric in plugin.appliance_metrics()}
    assert values["waypost_doctor_examinations_total"] == 3


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"interval_minutes": 0}, "interval_minutes"),
        ({"interval_minutes": 1441}, "interval_minutes"),
        ({"ignore": ("clock", "No Check")}, "ignore[1]"),
        ({"ignore": ("a",) * 33}, "ignore"),
    ],
)
def test_fail__wrong_settings(values: dict[str, object], key: str) -> None:
    with pytest.raises(SettingError) as caught:
        DoctorConfig(**values)  # type: ignore[arg-type]  # wrong on purpose
    assert caught.value.key == key
    assert caught.value.mend
