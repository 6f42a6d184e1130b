"""Real plugins in real processes: each kind of misbehaviour is named and mended, and the core's loop goes on."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from appliance.drivers.plugin_launcher import AppsLauncher
from appliance.pluginhost.apps.process import Limits
from appliance.pluginhost.discovery import discover
from appliance.pluginhost.faults import SOURCE
from appliance.pluginhost.host import PluginHost
from appliance.ports.clock import SystemClock

ROOT = Path(__file__).resolve().parents[4]
_spec = importlib.util.spec_from_file_location(
    "pluginhost_twins_for_apps", ROOT / "tests/unit/appliance/pluginhost/conftest.py"
)
assert _spec is not None
assert _spec.loader is not None
twins = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = twins
_spec.loader.exec_module(twins)
install = twins.install

LIMITS = Limits(load_s=8, hook_s=0.6, stall_s=0.6, watch_s=0.1, end_s=1)
ACTIVATION = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, "-P", "-m", "appliance.daemon.apps"])
"""
"""Starts the launcher as systemd does for a socket unit."""
MAX_STALL_S = 0.05
"""The core's loop is never blocked for longer."""
ROUTES = "@hookimpl\ndef appliance_contribute_routes(self):\n    return ['10.0.0.0/16']\n"
SERVICE = """

class Worker:
    name = "worker"

    def __init__(self, host):
        self.host = host

    async def run(self):
        import asyncio, ctypes, os, time
        {action}
        await asyncio.sleep(1e9)
"""
START = "@hookimpl\ndef appliance_start(self, host):\n    return (Worker(host),)\n"


class RealTimeBackend(twins.MemoryBackend):
    """The twin on the real clock, because the plugins' processes are real."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = SystemClock()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def said(self, name: str) -> str:
        item = self.health.get((SOURCE, f"plugin-{name}"))
        return item.text if item is not None else ""


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Open to the user that plugins run as, which pytest's own folder is not."""
    with tempfile.TemporaryDirectory(prefix="waypost-test-") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@pytest.fixture
def backend() -> RealTimeBackend:
    return RealTimeBackend()


@pytest.fixture
async def run(
    backend: RealTimeBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., PluginHost]]:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    hosts = []

    def make(*points: EntryPoint) -> PluginHost:
        host = PluginHost(backend, {}, discovery=discover(points), launcher=AppsLauncher(), limits=LIMITS)
        hosts.append(host)
        host.load()
        host.start()
        return host

    yield make
    for host in hosts:
        await host.stop()


def with_service(install, tmp_path: Path, name: str, action: str, extra: str = "") -> EntryPoint:
    hooks = ("appliance_start", "appliance_contribute_routes")
    point = install(name, START + ROUTES, hooks=hooks, placement="apps", extra=extra)
    file = tmp_path / f"sample_{name}" / "hooks.py"
    file.write_text(file.read_text() + SERVICE.format(action=action))
    return point


async def until(condition: Callable[[], object], limit_s: float = 9) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.02)


async def longest_work(condition: Callable[[], object]) -> float:
    """The most processor time that this thread spent between two turns of a busy loop until the condition held.

    Processor time, so that a busy test machine does not count against the host.
    """
    longest = 0.0

    async def measure() -> None:
        nonlocal longest
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.005)
            longest = max(longest, time.thread_time() - before)

    task = asyncio.ensure_future(measure())
    try:
        await until(condition)
    finally:
        task.cancel()
    return longest


def states(host: PluginHost) -> dict[str, str]:
    return {each.name: each.state for each in host.statuses()}


async def test_ok__plugin_runs_apart_and_goes_when_disabled(backend, install, run, tmp_path: Path) -> None:
    action = f"open({str(tmp_path / 'pid')!r}, 'w').write(f'{{os.getpid()}} {{os.getuid()}}')"
    host = run(with_service(install, tmp_path, "good", action))
    await until(lambda: states(host) == {"good": "running"})
    assert not [name for name in sys.modules if name.startswith("sample_good")], "none of its code is in this process"
    host.hooks.contribute_routes()
    await until(lambda: host.hooks.contribute_routes() == ("10.0.0.0/16",))
    await until((tmp_path / "pid").exists)
    await until(lambda: (tmp_path / "pid").read_text())
    process = int((tmp_path / "pid").read_text().split()[0])
    status = Path(f"/proc/{process}/status").read_text()
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    launcher = int(status.split("PPid:")[1].split()[0])
    await host.apply_tables({"good": {"enabled": False}})
    assert not Path(f"/proc/{process}").exists()
    assert not Path(f"/proc/{launcher}").exists(), "without plugins there is no launcher"
    await host.apply_tables({})
    await until(lambda: states(host) == {"good": "running"})


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("action", "said"),
    [
        ("time.sleep(1e6)", "its event loop did not return"),
        ("\n        while True: pass", "its event loop did not return"),
        ("ctypes.PyDLL(None).sleep(100)", "its event loop did not return"),
        ("os._exit(3)", "ended with status 3"),
        ("ctypes.string_at(0)", "ended by signal 11"),
        ("raise RuntimeError('broken')", "broken"),
    ],
    ids=["sleeps", "spins", "holds-the-interpreter", "exits", "crashes", "raises"],
)
async def test_fail__misbehaviour_is_named_and_costs_nobody_else(
    backend, install, run, tmp_path: Path, action: str, said: str
) -> None:
    host = run(
        with_service(install, tmp_path, "bad", action),
        with_service(install, tmp_path, "good", "await asyncio.sleep(0)"),
    )
    await until(lambda: states(host)["good"] == "running")
    assert await longest_work(lambda: said in backend.said("bad")) < MAX_STALL_S
    assert states(host)["bad"] == "degraded"
    assert states(host)["good"] == "running"
    await host.apply_tables({"bad": {"enabled": False}})
    assert backend.said("bad") == "", "disabling mends it"
    assert states(host) == {"bad": "disabled", "good": "running"}


@pytest.mark.timeout(30)
async def test_fail__leak_ends_at_the_limit(backend, install, run, tmp_path: Path) -> None:
    action = (
        "\n        kept = []\n        while True:\n            kept.append(bytearray(1 << 20)); await asyncio.sleep(0)"
    )
    host = run(with_service(install, tmp_path, "leak", action, "memory_mib = 64"))
    await until(lambda: "used up its memory" in backend.said("leak"), 15)
    assert states(host) == {"leak": "degraded"}


async def test_ok__hook_that_hangs_is_ended_and_the_plugin_started_again(backend, install, run, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    body = f"""
@hookimpl
def appliance_contribute_routes(self):
    import pathlib, time
    if not pathlib.Path({str(mark)!r}).exists():
        pathlib.Path({str(mark)!r}).touch()
        time.sleep(1e6)
    return ['10.0.0.0/16']
"""
    host = run(install("hang", body, hooks=("appliance_contribute_routes",), placement="apps"))
    await until(lambda: states(host)["hang"] == "running")
    host.hooks.contribute_routes()
    await until(lambda: "appliance_contribute_routes did not return within 0.6 s" in backend.said("hang"))
    await until(lambda: host.hooks.contribute_routes() == ("10.0.0.0/16",))


async def test_ok__unit_s_socket_starts_it_and_its_end_is_the_last_plugin_s(
    backend, install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    path = str(tmp_path / "launcher.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        number = str(listener.fileno())
        unit = await asyncio.create_subprocess_exec(
            sys.executable, "-c", ACTIVATION, number, pass_fds=[listener.fileno()]
        )
    point = with_service(install, tmp_path, "good", "await asyncio.sleep(0)")
    host = PluginHost(backend, {}, discovery=discover([point]), launcher=AppsLauncher(path), limits=LIMITS)
    host.load()
    host.start()
    await until(lambda: states(host) == {"good": "running"})
    await host.apply_tables({"good": {"enabled": False}})
    assert await asyncio.wait_for(unit.wait(), 5) == 0
    await host.stop()


async def test_fail__unit_that_is_not_there_is_named(backend, install, tmp_path: Path) -> None:
    launcher = AppsLauncher(str(tmp_path / "none.sock"))
    host = PluginHost(backend, {}, discovery=discover([install("good", placement="apps")]), launcher=launcher)
    host.load()
    host.start()
    await until(lambda: "waypost-apps cannot be reached" in backend.said("good"))
    assert "waypost-apps.socket" in backend.said("good")
    await host.stop()
