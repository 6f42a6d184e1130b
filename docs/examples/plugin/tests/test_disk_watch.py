"""The plugin on a fake host, and every hook under its contract."""

from __future__ import annotations

import asyncio

import pytest
from waypost_disk_watch.config import DiskWatchConfig
from waypost_disk_watch.hooks import DiskWatch
from waypost_disk_watch.rules import Disk, WatchState, as_lines, health_items
from waypost_disk_watch.service import Measuring

from appliance.api import SettingError
from appliance.api.testing import FakeHost, PluginContract


class TestContract(PluginContract):
    plugin_class = DiskWatch
    config = DiskWatchConfig()
    arguments = {"appliance_run_command": {"command": "show"}}  # noqa: RUF012  # read only


@pytest.mark.parametrize(("free", "codes"), [(50, []), (5, ["disk-low"])])
def test_ok__health_follows_free_space(free: int, codes: list[str]) -> None:
    state = WatchState(disks=(Disk("/", free, 100),))
    assert [item.code for item in health_items(state)] == codes
    assert as_lines(state) == f"/: {free} % free"


def test_fail__settings_name_their_key() -> None:
    with pytest.raises(SettingError, match=r"folders\[1\]"):
        DiskWatchConfig(folders=("/", "relative"))


async def test_ok__service_measures_and_says_when_the_verdict_changes(fake_host: FakeHost) -> None:
    state = WatchState(DiskWatchConfig(folders=("/", "/no-such-folder")))
    running = asyncio.ensure_future(Measuring(fake_host, state).run())
    async with asyncio.timeout(5):
        while not fake_host.refreshes:
            await asyncio.sleep(0)
    assert state.disks[0].total_bytes > 0
    assert [item.code for item in health_items(state)][-1:] == ["folder-missing"]
    running.cancel()
