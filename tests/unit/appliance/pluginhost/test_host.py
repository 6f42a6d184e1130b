"""The plugin host with real packages made in a folder: loading, failing, settings, services."""

from __future__ import annotations

import itertools
import sys

import pytest

from appliance.api.dns import DnsSettings
from appliance.api.offered import OfferedRoutes
from appliance.api.testing import settle
from appliance.api.values import HostFacts, NetmapChange, NetmapSnapshot, NodeInfo, OfferedRoute, RefreshKind
from appliance.pluginhost.discovery import discover
from appliance.pluginhost.errors import PluginRefused
from appliance.pluginhost.faults import SOURCE, FaultBook
from appliance.pluginhost.hooks import Hooks
from appliance.pluginhost.host import HIDDEN, PluginHost
from appliance.pluginhost.stall import StallGuard
from appliance.types.errors import ConfigError

ROUTES = """
@hookimpl
def appliance_contribute_routes(self, host):
    return self.routes()

def routes(self):
    return {routes}
"""
WITH_ROUTES = ("appliance_contribute_routes",)


def make(backend, points, tables=None, **options) -> PluginHost:
    return PluginHost(backend, tables or {}, discovery=discover(points), **options)


def state_of(host: PluginHost, name: str) -> str:
    return next(status.state for status in host.statuses() if status.name == name)


def problem(backend, name: str) -> str:
    return backend.health[SOURCE, f"plugin-{name}"].text


def test_ok__disabled_plugin_is_never_imported(backend, install) -> None:
    host = make(backend, [install("off"), install("on")], {"off": {"enabled": False}})
    host.load()
    assert "sample_on.hooks" in sys.modules
    assert not [name for name in sys.modules if name.startswith("sample_off")]
    assert [state_of(host, name) for name in ("off", "on")] == ["disabled", "running"]


def test_fail__refused_plugin_is_not_imported_and_named(backend, install) -> None:
    host = make(backend, [install("apps", placement="apps"), install("good")])
    host.load()
    assert not [name for name in sys.modules if name.startswith("sample_apps")]
    assert state_of(host, "apps") == "refused"
    assert "waypost-apps" in problem(backend, "apps")
    assert state_of(host, "good") == "running"


@pytest.mark.parametrize(
    ("body", "hooks", "said"),
    [
        ("raise RuntimeError('boom')", (), "boom"),
        ("def __init__(self): raise RuntimeError('bang')", (), "bang"),
        ("", WITH_ROUTES, "does not implement appliance_contribute_routes"),
        (ROUTES.format(routes="()"), (), "does not declare, appliance_contribute_routes"),
        ("@hookimpl\ndef appliance_nonsense(self): pass", (), "appliance_nonsense"),
        ("@hookimpl\ndef appliance_stop(self, wrong): pass", ("appliance_stop",), "wrong"),
    ],
)
def test_fail__bad_class_is_refused(backend, install, body: str, hooks: tuple[str, ...], said: str) -> None:
    host = make(backend, [install("bad", body, hooks=hooks), install("good")])
    host.load()
    assert state_of(host, "bad") == "refused"
    assert said in problem(backend, "bad")
    assert host.hooks.registered == ("good",)


def test_fail__raising_hook_degrades_and_keeps_the_last_good_value(backend, install) -> None:
    body = ROUTES.format(routes="self.now")
    points = [
        install("flaky", body, hooks=WITH_ROUTES),
        install("good", ROUTES.format(routes="['10.2.0.0/16']"), hooks=WITH_ROUTES),
    ]
    host = make(backend, points)
    host.load()
    plugin_class = sys.modules["sample_flaky.hooks"].Plugin
    plugin_class.now = ["10.1.0.0/16"]
    assert host.hooks.contribute_routes() == ("10.1.0.0/16", "10.2.0.0/16")
    del plugin_class.now
    assert host.hooks.contribute_routes() == ("10.1.0.0/16", "10.2.0.0/16")
    assert state_of(host, "flaky") == "degraded"
    assert "flaky" in problem(backend, "flaky")
    plugin_class.now = []
    assert host.hooks.contribute_routes() == ("10.2.0.0/16",)
    assert state_of(host, "flaky") == "running"
    assert (SOURCE, "plugin-flaky") not in backend.health


@pytest.mark.parametrize("result", ["5", "'10.0.0.0/8'", "[1]", "{'a': 1}"])
def test_fail__nonsense_result_degrades(backend, install, result: str) -> None:
    host = make(backend, [install("odd", ROUTES.format(routes=result), hooks=WITH_ROUTES)])
    host.load()
    assert host.hooks.contribute_routes() == ()
    assert "must return" in problem(backend, "odd")


def test_fail__stalled_plugin_is_not_called_again(backend, install) -> None:
    body = "@hookimpl\ndef appliance_contribute_routes(self):\n    while True: pass"
    faults_hooks = Hooks(FaultBook(backend), StallGuard(0.05))
    host = make(backend, [install("hang", body, hooks=WITH_ROUTES)], hooks=faults_hooks)
    host.load()
    assert host.hooks.contribute_routes() == ()
    assert "did not return" in problem(backend, "hang")
    lines = len(backend.lines)
    assert host.hooks.contribute_routes() == ()
    assert len(backend.lines) == lines


def test_fail__one_route_from_two_plugins_names_both(backend, install) -> None:
    body = ROUTES.format(routes="['10.0.0.0/8']")
    points = [install("first", body, hooks=WITH_ROUTES), install("second", body, hooks=WITH_ROUTES)]
    host = make(backend, points)
    host.load()
    assert host.hooks.contribute_routes() == ("10.0.0.0/8",)
    text = problem(backend, "second")
    assert "first" in text
    assert "second" in text
    assert "10.0.0.0/8" in text
    sys.modules["sample_second.hooks"].Plugin.routes = lambda self: []
    host.hooks.contribute_routes()
    assert (SOURCE, "plugin-second") not in backend.health


# --- settings


CHECKED = """
limit: int = 3
names: tuple[str, ...] = ()

def __post_init__(self):
    for index, name in enumerate(self.names):
        if not name.islower():
            raise SettingError(f"names[{index}]", "is not lower case", mend="write it small")
"""


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"limit": "x"}, "plugins.sample.limit"),
        ({"names": ["a", 5]}, r"plugins.sample.names\[1\]"),
        ({"names": ["a", "B"]}, r"plugins.sample.names\[1\]: is not lower case"),
        ({"unknown": 1}, "plugins.sample.unknown"),
        ({"enabled": "yes"}, "plugins.sample.enabled"),
    ],
)
def test_fail__wrong_setting_names_its_key_path(backend, install, table: dict[str, object], said: str) -> None:
    host = make(backend, [install("sample", config=CHECKED)], {"sample": table})
    with pytest.raises(ConfigError, match=said):
        host.load()


def test_fail__settings_of_an_unknown_plugin(backend, install) -> None:
    with pytest.raises(ConfigError, match=r"plugins\.ghost"):
        make(backend, [install("sample")], {"ghost": {}}).load()


CONFIGURED = """
seen = []

@hookimpl
def appliance_configure(self, config):
    self.seen.append(config.limit)
"""


async def test_ok__new_settings_reach_the_plugin(backend, install) -> None:
    point = install("sample", CONFIGURED, config=CHECKED, hooks=("appliance_configure",))
    host = make(backend, [point], {"sample": {"limit": 5}})
    host.load()
    await host.apply_tables({"sample": {"limit": 6, "enabled": True}})
    assert sys.modules["sample_sample.hooks"].Plugin.seen == [5, 6]
    assert RefreshKind.ROUTER in backend.refreshes
    with pytest.raises(ConfigError):
        await host.apply_tables({"sample": {"limit": "x"}})
    assert sys.modules["sample_sample.hooks"].Plugin.seen == [5, 6]


async def test_ok__secrets_are_not_shown(backend, install) -> None:
    config = 'token: Annotated[str, Secret()] = ""\nlimit: int = 3\nname: str = ""'
    host = make(backend, [install("sample", config=config)], {"sample": {"token": "hush", "limit": 5}})
    host.load()
    hidden = {"token": HIDDEN, "limit": 5}
    assert host.settings("sample") == (True, hidden, {**hidden, "name": ""})
    assert host.shown("sample", {"token": ""}) == {"token": ""}, "that there is none is no secret"
    await host.apply_tables({"sample": {"token": "hush", "name": "x", "limit": 5, "enabled": False}})
    assert host.settings("sample") == (False, {**hidden, "name": HIDDEN}, {}), "its code is not there to say which"


# --- services

SERVICE = """
log = []

@hookimpl
def appliance_start(self, host):
    return (Worker(host),)

@hookimpl
def appliance_stop(self):
    self.log.append("stopped")
"""
WORKER = """

class Worker:
    name = "worker"

    def __init__(self, host):
        self.host = host

    async def run(self):
        Plugin.log.append(await self.host.now())
        {action}
"""
SERVICE_HOOKS = ("appliance_start", "appliance_stop")


def install_service(install, action: str) -> object:
    point = install("work", SERVICE, hooks=SERVICE_HOOKS)
    module = point.value.partition(":")[0]
    from importlib.util import find_spec
    from pathlib import Path

    folder = Path(next(iter(find_spec(module.partition(".")[0]).submodule_search_locations)))
    file = folder / "hooks.py"
    file.write_text(file.read_text() + WORKER.format(action=action))
    return point


async def test_fail__raising_service_is_restarted_with_back_off(backend, install) -> None:
    host = make(backend, [install_service(install, "raise RuntimeError('broken')")])
    host.load()
    host.start()
    await backend.clock.pass_time(200)
    starts = sys.modules["sample_work.hooks"].Plugin.log
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert len(gaps) >= 4
    assert gaps[0] <= 1.5 < 8 <= max(gaps) <= 90
    assert "broken" in problem(backend, "work")
    assert state_of(host, "work") == "degraded"
    await host.stop()


async def test_ok__service_lives_and_stops(backend, install) -> None:
    host = make(backend, [install_service(install, "await self.host.sleep(1e9)")])
    host.load()
    host.start()
    await settle()
    assert host.statuses()[0].services == ("worker",)
    await host.stop()
    assert sys.modules["sample_work.hooks"].Plugin.log[-1] == "stopped"
    assert host.statuses()[0].state == "disabled"


async def test_fail__service_that_cancels_itself_is_restarted(backend, install) -> None:
    host = make(backend, [install_service(install, "raise __import__('asyncio').CancelledError")])
    host.load()
    host.start()
    await backend.clock.pass_time(30)
    assert len(sys.modules["sample_work.hooks"].Plugin.log) > 2
    await host.stop()


async def test_fail__service_that_refuses_to_stop_is_left_behind(backend, install) -> None:
    action = """
        while not getattr(Plugin, "released", False):
            try:
                await self.host.sleep(5)
            except BaseException:
                pass"""
    host = make(backend, [install_service(install, action)], stop_timeout_s=0.05)
    host.load()
    host.start()
    await settle()
    await host.stop()
    assert ("work", "plugin_service_does_not_stop") in backend.lines
    sys.modules["sample_work.hooks"].Plugin.released = True
    await backend.clock.pass_time(10)


async def test_ok__enable_and_disable_at_run_time(backend, install) -> None:
    host = make(backend, [install_service(install, "await self.host.sleep(1e9)")], {"work": {"enabled": False}})
    host.load()
    host.start()
    assert state_of(host, "work") == "disabled"
    await host.apply_tables({"work": {"enabled": True}})
    await settle()
    assert state_of(host, "work") == "running"
    await host.apply_tables({"work": {"enabled": False}})
    assert state_of(host, "work") == "disabled"
    assert sys.modules["sample_work.hooks"].Plugin.log[-1] == "stopped"


# --- netmap, verdicts, health

FOLLOWS = """
seen = []
fail = False

@hookimpl
def appliance_netmap_changed(self, change):
    if self.fail:
        raise RuntimeError("no")
    self.seen.append(change)
"""


def test_ok__plugin_that_missed_a_change_gets_the_whole_netmap(backend, install) -> None:
    host = make(backend, [install("follow", FOLLOWS, hooks=("appliance_netmap_changed",))])
    host.load()
    plugin = sys.modules["sample_follow.hooks"].Plugin
    peer = NodeInfo("n1", "peer")
    backend.snapshot = NetmapSnapshot(peers=(peer,))
    small = NetmapChange(removed=("n9",))
    host.netmap_changed(small)
    assert plugin.seen[-1] == NetmapChange(full=True, changed=(peer,), dns=DnsSettings())
    host.netmap_changed(small)
    assert plugin.seen[-1] == small
    plugin.fail = True
    host.netmap_changed(small)
    plugin.fail = False
    host.netmap_changed(small)
    assert plugin.seen[-1].full


def test_ok__verdict_on_a_vanished_route_is_dropped(backend, install) -> None:
    body = "@hookimpl\ndef appliance_accept_routes(self):\n    return RouteSelection({'10.0.0.0/8': ''})"
    host = make(backend, [install("all", body, hooks=("appliance_accept_routes",))])
    host.load()
    assert host.hooks.accept_routes(OfferedRoutes((OfferedRoute("10.0.0.0/8", "n"),)), ()).accepted == ("10.0.0.0/8",)
    assert host.hooks.accept_routes(OfferedRoutes(), ()).accepted == ()


def test_ok__health_items_come_and_go(backend, install) -> None:
    body = "on = True\n@hookimpl\ndef appliance_check_health(self):\n    return [HealthItem('x', 't', 'm')] * self.on"
    host = make(backend, [install("ill", body, hooks=("appliance_check_health",))])
    host.load()
    host.refresh_health()
    assert ("ill", "x") in backend.health
    sys.modules["sample_ill.hooks"].Plugin.on = False
    host.refresh_health()
    assert backend.health == {}
    assert host.hooks.check_health(HostFacts()) == {"ill": ()}


def test_fail__registering_twice_is_refused(backend) -> None:
    hooks = Hooks(FaultBook(backend))
    plugin = type("Plugin", (), {})()
    hooks.register("one", plugin, None, ())
    with pytest.raises(PluginRefused):
        hooks.register("one", type("Other", (), {})(), None, ())
