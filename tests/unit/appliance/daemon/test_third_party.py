"""The example distribution: installed by pip, checked, tested, and run in a process of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import distributions
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from appliance.drivers.plugin_launcher import AppsLauncher
from appliance.pluginhost.discovery import GROUP, discover
from appliance.pluginhost.host import PluginHost
from appliance.ports.clock import SystemClock

ROOT = Path(__file__).resolve().parents[4]
EXAMPLE = ROOT / "docs/examples/plugin"
_spec = spec_from_file_location(
    "pluginhost_twins_for_third_party", ROOT / "tests/unit/appliance/pluginhost/conftest.py"
)
assert _spec is not None
assert _spec.loader is not None
twins = module_from_spec(_spec)
sys.modules[_spec.name] = twins
_spec.loader.exec_module(twins)


class RealTimeBackend(twins.MemoryBackend):
    def __init__(self) -> None:
        super().__init__()
        self.clock = SystemClock()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@pytest.fixture(scope="module")
def installed() -> Iterator[Path]:
    """A folder into which pip has put the example, offline; open to the user that plugins run as."""
    with tempfile.TemporaryDirectory(prefix="waypost-test-") as folder:
        Path(folder).chmod(0o755)
        yield install_example(Path(folder))


def install_example(base: Path) -> Path:
    shutil.copytree(EXAMPLE, base / "source", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", str(base / "site")]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, str(base / "source")], check=True, capture_output=True
    )
    return base / "site"


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.mark.timeout(60)
async def test_ok__installed_example_runs(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(installed))
    monkeypatch.syspath_prepend(str(installed))
    points = [each for found in distributions(path=[str(installed)]) for each in found.entry_points.select(group=GROUP)]
    backend = RealTimeBackend()
    tables = {"disk_watch": {"enabled": False, "limit": 99.9}}
    host = PluginHost(backend, tables, discovery=discover(points), launcher=AppsLauncher())
    host.load()
    host.start()
    assert host.statuses()[0].state == "disabled"
    await host.apply_tables({"disk_watch": {"enabled": True, "limit": 99.9}})
    await until(lambda: host.statuses()[0].state == "running")
    assert not [name for name in sys.modules if name.startswith("waypost_disk_watch")]
    assert host.settings("disk_watch")[2]["warn_below_percent"] == 99.9, "the old name is understood"
    host.refresh_health()
    await until(lambda: (host.refresh_health(), ("disk_watch", "disk-low") in backend.health)[1])
    assert (await host.run_command("disk_watch", "show", ())).text.startswith("/: ")
    assert (await host.panels())[0].panel.title == "Disks"
    await host.apply_tables({"disk_watch": {"enabled": False}})
    assert backend.health == {}
    await host.stop()


@pytest.mark.timeout(60)
def test_ok__example_passes_its_own_tests_and_the_check(installed: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(EXAMPLE / "pyproject.toml")]
    done = subprocess.run(
        [*tests, str(EXAMPLE / "tests")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    check = [sys.executable, "-m", "appliance.pluginhost.check", str(EXAMPLE)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "appliance_run_command show: ok" in done.stdout
