"""The inherited contract tests: one per hook, and red where a hook breaks its contract."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from appliance.api import Metric, Panel, hookimpl
from appliance.api.testing import FakeHost, PluginContract, VirtualTime


class Good:
    @hookimpl
    def appliance_configure(self, config: Panel) -> None:
        self.config = config

    @hookimpl
    def appliance_metrics(self) -> tuple[Metric, ...]:
        return (Metric("waypost_x", 1, self.config.title),)


class TestGood(PluginContract):
    plugin_class = Good
    config = Panel("help")


BAD = """
from appliance.api import Panel, hookimpl
from appliance.api.testing import PluginContract

class Bad:
    @hookimpl
    def appliance_metrics(self):
        return "nonsense"

    @hookimpl
    def appliance_stop(self):
        pass

    def appliance_unknown(self):
        pass

class TestBad(PluginContract):
    plugin_class = Bad
    config = Panel("x")
"""


@pytest.mark.timeout(60)
def test_fail__bad_plugin_is_red_hook_by_hook(tmp_path: Path) -> None:
    (tmp_path / "test_bad.py").write_text(BAD)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "2 failed, 1 passed" in done.stdout, done.stdout
    assert "[appliance_metrics]" in done.stdout
    assert "appliance_unknown" in done.stdout


async def test_ok__fixtures_share_one_clock(fake_host: FakeHost, virtual_time: VirtualTime) -> None:
    before = await fake_host.now()
    await virtual_time.pass_time(5)
    assert await fake_host.now() == before + 5
