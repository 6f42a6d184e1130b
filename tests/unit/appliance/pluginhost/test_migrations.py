"""Older settings are understood, newer ones are left alone."""

from __future__ import annotations

import sys

import pytest

from appliance.pluginhost.discovery import discover
from appliance.pluginhost.host import PluginHost
from appliance.pluginhost.migrations import Migration, migrate, problem_of
from appliance.types.errors import ConfigError

STEPS = (
    Migration(2, rename={"routes": "advertise"}, drop=("old",)),
    Migration(3, replace={"mode": {"fast": "turbo", "true": "on"}}),
)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"routes": [1], "old": 2, "mode": "fast"}, {"advertise": [1], "mode": "turbo"}),
        ({"advertise": [1], "mode": "turbo"}, {"advertise": [1], "mode": "turbo"}),
        ({"routes": [1], "advertise": [2]}, {"advertise": [2]}),
        ({"config_version": 2, "routes": [1], "mode": True}, {"routes": [1], "mode": "on"}),
        ({"config_version": 3, "mode": "fast"}, {"mode": "fast"}),
        ({}, {}),
    ],
)
def test_ok__steps(table, expected) -> None:
    assert migrate("x", table, STEPS, 3) == expected


@pytest.mark.parametrize("version", [0, 4, "2", True, 1.5])
def test_fail__version_names_its_key_path(version) -> None:
    with pytest.raises(ConfigError, match=r"plugins\.x\.config_version"):
        migrate("x", {"config_version": version}, STEPS, 3)


def test_fail__steps_that_do_not_lead_there() -> None:
    assert problem_of(STEPS, 3) == ""
    assert problem_of((), 1) == ""
    assert "from 2 to 2" in problem_of((), 2)
    assert "from 2 to 2" in problem_of(STEPS, 2)
    assert "starts at 1" in problem_of((), 0)


async def test_ok__plugin_sees_only_the_present_form(backend, install) -> None:
    extra = 'config_version = 2\n[[plugin.migrations]]\nto = 2\nrename = {limit = "maximum"}\n'
    body = "seen = []\n@hookimpl\ndef appliance_configure(self, config):\n    self.seen.append(config.maximum)"
    point = install("sample", body, config="maximum: int = 1", hooks=("appliance_configure",), extra=extra)
    host = PluginHost(backend, {"sample": {"limit": 5}}, discovery=discover([point]))
    host.load()
    await host.apply_tables({"sample": {"limit": 6}})
    await host.apply_tables({"sample": {"maximum": 7}})
    assert sys.modules["sample_sample.hooks"].Plugin.seen == [5, 6, 7]
    assert host.settings("sample") == (True, {"maximum": 7}, {"maximum": 7})
    with pytest.raises(ConfigError, match="knows 2"):
        await host.apply_tables({"sample": {"config_version": 3}})


def test_fail__manifest_with_a_gap(backend, install) -> None:
    host = PluginHost(backend, {}, discovery=discover([install("sample", extra="config_version = 2")]))
    host.load()
    assert "must lead to each version" in host.statuses()[0].problem
