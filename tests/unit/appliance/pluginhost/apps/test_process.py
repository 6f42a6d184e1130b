"""A plugin in its own process as the core sees it: same answers, and whatever it does costs nobody else anything."""

from __future__ import annotations

import sys

import pytest

from appliance.api.dns import DnsSettings
from appliance.api.offered import OfferedRoutes
from appliance.api.testing import settle
from appliance.api.values import (
    FieldKind,
    FirewallPart,
    HostFacts,
    HostinfoPart,
    NetmapChange,
    NetmapSnapshot,
    NodeInfo,
    OfferedRoute,
    RefreshKind,
    SettingField,
)
from appliance.pluginhost.admission import Site
from appliance.pluginhost.discovery import discover
from appliance.pluginhost.faults import SOURCE
from appliance.pluginhost.hooks import HOOK_NAMES
from appliance.pluginhost.host import PluginHost
from appliance.types.errors import ApplianceError, ConfigError

BODY = """
seen = []
routes = ["10.1.0.0/16"]

@hookimpl
def appliance_configure(self, config):
    self.seen.append(config)

@hookimpl
def appliance_start(self, host):
    type(self).kept = host
    return (Worker(host),)

@hookimpl
def appliance_netmap_changed(self, change):
    self.seen.append(change)

@hookimpl
def appliance_contribute_routes(self):
    return self.routes

@hookimpl
def appliance_accept_routes(self, offered, attached):
    return RouteSelection({route.prefix: '' for route in offered})

@hookimpl
def appliance_check_health(self, facts):
    return [HealthItem("x", "text", "mend")] if facts.connected is False else []

@hookimpl
def appliance_status_panel(self):
    return Panel("Sample", rows=(PanelRow("label", "value"),))

@hookimpl
def appliance_run_command(self, command, arguments):
    return CommandReply(" ".join((command, *arguments)))

@hookimpl
def appliance_stop(self):
    self.seen.append("stopped")
"""
HOOKS = tuple(line.split()[1].split("(")[0] for line in BODY.splitlines() if line.startswith("def appliance_"))
EXTRA = 'rights = ["status", "act", "listen"]\n[plugin.commands]\necho = "Say it again"\n'
WORKER = """

class Worker:
    name = "worker"
    action = None

    def __init__(self, host):
        self.host = host

    async def run(self):
        await self.host.log(LogLevel.INFO, "hello", {"a": 1})
        await self.host.store_put("k", b"v" + (await self.host.store_get("k") or b""))
        if Worker.action is not None:
            await Worker.action(self.host)
        await self.host.sleep(1e9)
"""
CONFIG = """
limit: int = 3

def __post_init__(self):
    if self.limit < 0:
        raise SettingError("limit", "is negative", mend="count from 0")
"""


@pytest.fixture
def point(install, tmp_path):
    made = install("remote", BODY, config=CONFIG, hooks=HOOKS, extra=EXTRA, placement="apps")
    file = tmp_path / "sample_remote" / "hooks.py"
    file.write_text(file.read_text() + WORKER)
    return made


def make(backend, launcher, point, tables=None, **options) -> PluginHost:
    return PluginHost(backend, tables or {}, discovery=discover([point]), launcher=launcher, **options)


def plugin():
    return sys.modules["sample_remote.hooks"].Plugin


async def started(backend, launcher, point, **options) -> PluginHost:
    host = make(backend, launcher, point, **options)
    host.load()
    host.start()
    await settle()
    return host


def problem(backend) -> str:
    item = backend.health.get((SOURCE, "plugin-remote"))
    return item.text if item is not None else ""


async def test_ok__same_plugin_same_answers(backend, launcher, point) -> None:
    backend.snapshot = NetmapSnapshot(peers=(NodeInfo("n1", "peer"),))
    host = await started(backend, launcher, point)
    assert plugin().seen[1] == NetmapChange(full=True, changed=(NodeInfo("n1", "peer"),), dns=DnsSettings())
    assert host.statuses()[0].state == "running"
    assert host.statuses()[0].services == ("worker",)
    assert backend.lines[-1] == ("remote", "hello")
    assert backend.store["remote", "k"] == b"v"
    assert host.hooks.contribute_routes() == ()
    await settle()
    assert RefreshKind.HOSTINFO in backend.refreshes
    assert host.hooks.contribute_routes() == ("10.1.0.0/16",)
    offered = OfferedRoutes((OfferedRoute("10.9.0.0/16", "n1"),))
    host.hooks.accept_routes(offered, ())
    await settle()
    assert host.hooks.accept_routes(offered, ()).accepted == ("10.9.0.0/16",)
    host.hooks.check_health(HostFacts())
    await settle()
    assert host.hooks.check_health(HostFacts())["remote"][0].code == "x"
    assert (await host.panels())[0].panel.rows[0].value == "value"
    host.netmap_changed(NetmapChange(removed=("n1",)))
    await settle()
    assert plugin().seen[-1] == NetmapChange(removed=("n1",))
    assert (await host.run_command("remote", "echo", ("a", "b"))).text == "echo a b"
    await host.stop()
    assert plugin().seen[-1] == "stopped"
    assert launcher.launched[0].exit.result().status == 0


async def test_ok__unchanged_answers_ask_for_nothing(backend, launcher, point) -> None:
    host = await started(backend, launcher, point)
    host.hooks.contribute_routes()
    await settle()
    backend.refreshes.clear()
    for _ in range(5):
        host.hooks.contribute_routes()
        await settle()
    assert backend.refreshes == []
    await host.stop()


async def test_fail__answers_that_always_differ_do_not_keep_the_core_busy(backend, launcher, point) -> None:
    host = await started(backend, launcher, point)
    counter = iter(range(256))
    plugin().routes = property(lambda self: [f"10.{next(counter)}.0.0/16"])
    backend.refreshes.clear()
    for _ in range(50):
        host.hooks.contribute_routes()
        await settle()
    assert len(backend.refreshes) <= 2
    await host.stop()


async def test_fail__raising_hook_keeps_the_last_good_answer(backend, launcher, point) -> None:
    host = await started(backend, launcher, point)
    host.hooks.contribute_routes()
    await settle()
    plugin().routes = property(lambda self: 1 / 0)
    for _ in range(2):
        assert host.hooks.contribute_routes() == ("10.1.0.0/16",)
        await settle()
    assert "ZeroDivisionError" in problem(backend)
    assert host.statuses()[0].state == "degraded"
    plugin().routes = []
    host.hooks.contribute_routes()
    await settle()
    assert host.hooks.contribute_routes() == ()
    assert problem(backend) == ""
    await host.stop()


async def test_fail__dead_process_is_started_again(backend, launcher, point) -> None:
    host = await started(backend, launcher, point)
    host.hooks.contribute_routes()
    await settle()
    launcher.launched[0].finish(-11)
    await settle()
    assert "signal 11" in problem(backend)
    assert host.hooks.contribute_routes() == ("10.1.0.0/16",), "what it contributed stays"
    assert host.statuses()[0].state == "degraded"
    await backend.clock.pass_time(2)
    assert len(launcher.launched) == 2
    await backend.clock.pass_time(30)
    assert problem(backend) == ""
    assert host.statuses()[0].state == "running"
    await host.stop()


async def test_fail__dying_again_and_again_is_slowed_down(backend, launcher, point) -> None:
    host = await started(backend, launcher, point)
    for _ in range(300):
        launcher.launched[-1].finish(1)
        await backend.clock.pass_time(1)
    assert 6 <= len(launcher.launched) <= 20
    await host.stop()


async def test_fail__silent_process_is_ended_and_named(backend, launcher, point) -> None:
    host = await started(backend, launcher, point)
    first = launcher.launched[0]
    first.channel.hold = True
    await backend.clock.pass_time(60)
    assert first.killed
    assert len(launcher.launched) >= 2
    assert ("remote", "plugin_failed") in backend.lines
    await host.stop()


async def test_fail__hook_that_does_not_return_names_the_hook(backend, launcher, point) -> None:
    host = await started(backend, launcher, point)
    launcher.channel.hold = True
    host.hooks.contribute_routes()
    await backend.clock.pass_time(7)
    assert "appliance_contribute_routes did not return within 5 s" in problem(backend)
    await host.stop()


async def test_fail__out_of_memory_is_named(backend, launcher, point) -> None:
    host = await started(backend, launcher, point)

    def leak(self):
        raise MemoryError

    plugin().routes = property(leak)
    host.hooks.contribute_routes()
    await settle()
    assert "used up its memory" in problem(backend)
    await host.stop()


async def test_fail__plugin_that_cannot_be_imported_is_not_tried_again(backend, launcher, install) -> None:
    host = await started(backend, launcher, install("remote", "raise RuntimeError('boom')", placement="apps"))
    await backend.clock.pass_time(300)
    assert len(launcher.launched) == 1
    assert "boom" in problem(backend)
    await host.stop()


# --- settings


@pytest.mark.parametrize(("table", "said"), [({"limit": "x"}, "expected int"), ({"limit": -1}, "is negative")])
async def test_fail__wrong_setting_at_run_time_changes_nothing(backend, launcher, point, table, said) -> None:
    host = await started(backend, launcher, point, tables={"remote": {"limit": 5}})
    with pytest.raises(ConfigError, match=rf"plugins\.remote\.limit: {said}") as caught:
        await host.apply_tables({"remote": table})
    assert caught.value.key == "plugins.remote.limit"
    assert [each.limit for each in plugin().seen if hasattr(each, "limit")] == [5]
    await host.apply_tables({"remote": {"limit": 6}})
    await settle()
    assert [each.limit for each in plugin().seen if hasattr(each, "limit")] == [5, 6]
    await host.stop()


async def test_fail__wrong_setting_at_start_degrades_until_mended(backend, launcher, point) -> None:
    host = await started(backend, launcher, point, tables={"remote": {"limit": -1}})
    assert "plugins.remote.limit: is negative" in problem(backend)
    assert host.statuses()[0].services == ()
    await host.apply_tables({"remote": {}})
    await settle()
    assert host.settings("remote") == (True, {}, {"limit": 3})
    assert host.setting_fields("remote") == (SettingField("limit", FieldKind.NUMBER, value=3),)
    assert host.statuses()[0].services == ("worker",)
    assert problem(backend) == ""
    await host.stop()


async def test_fail__foreign_code_stays_outside(backend, launcher, install) -> None:
    host = await started(backend, launcher, install("remote", placement="inline"))
    assert host.statuses()[0].state == "refused"
    assert "only Waypost's own" in problem(backend)
    assert not [name for name in sys.modules if name.startswith("sample_remote")]
    await host.stop()


async def test_fail__load_that_fails_starts_no_process(backend, launcher, point, install) -> None:
    points = [point, install("strict", config=CONFIG)]
    site = Site(HOOK_NAMES, own=frozenset({"strict"}))
    tables = {"strict": {"limit": -1}}
    host = PluginHost(backend, tables, discovery=discover(points), launcher=launcher, site=site)
    with pytest.raises(ConfigError):
        host.load()
    await settle()
    assert launcher.launched == []


async def test_ok__enable_and_disable_at_run_time(backend, launcher, point) -> None:
    host = await started(backend, launcher, point, tables={"remote": {"enabled": False}})
    assert launcher.launched == [], "a disabled plugin has no process"
    with pytest.raises(ConfigError, match="is negative"):
        await host.apply_tables({"remote": {"enabled": True, "limit": -1}})
    await settle()
    assert host.statuses()[0].state == "disabled"
    assert all(process.exit.done() for process in launcher.launched)
    await host.apply_tables({"remote": {"enabled": True}})
    await settle()
    assert host.statuses()[0].state == "running"
    await host.apply_tables({"remote": {"enabled": False}})
    assert host.statuses()[0].state == "disabled"
    assert all(process.exit.done() for process in launcher.launched)
    await host.stop()


# --- the handle


async def test_ok__handle_reaches_the_host(backend, launcher, point) -> None:
    host = await started(backend, launcher, point)
    found = {}

    async def act(handle) -> None:
        from appliance.api import ListenPlace, ListenScope

        found["status"] = await handle.status(peers=False)
        listener = await handle.listen(ListenPlace(ListenScope.LOCAL, 0))
        found["address"] = listener.getsockname()[0]
        listener.close()
        await handle.act("other", "Press")
        async for change in handle.changes():
            found["change"] = change.number
            break
        try:
            await handle.store_put("", b"")
        except Exception as error:
            found["error"] = error

    await act(plugin().kept)
    assert found["status"].version == "0"
    assert found["address"] == "127.0.0.1"
    assert backend.acts == [("other", "Press")]
    assert found["change"] == 0
    assert "1 to 128" in str(found["error"])
    await host.stop()


RAISES = "\n".join(f"@hookimpl\ndef {name}(self):\n    raise RuntimeError({name!r})\n" for name in sorted(HOOK_NAMES))


@pytest.mark.parametrize("placement", ["inline", "apps"])
async def test_fail__raising_in_every_hook_costs_the_core_nothing(backend, launcher, install, placement) -> None:
    extra = '[plugin.commands]\nshow = "Show"\n'
    point = install("remote", RAISES, hooks=tuple(sorted(HOOK_NAMES)), placement=placement, extra=extra)
    host = await started(backend, launcher if placement == "apps" else None, point)
    for _ in range(2):
        host.netmap_changed(NetmapChange())
        host.refresh_health()
        assert host.hooks.contribute_routes() == ()
        assert host.hooks.contribute_firewall() == FirewallPart()
        assert host.hooks.contribute_hostinfo() == HostinfoPart()
        assert host.hooks.accept_routes(OfferedRoutes((OfferedRoute("10.0.0.0/8", "n"),)), ()).accepted == ()
        assert host.hooks.metrics() == ()
        await host.panels()
        with pytest.raises(ApplianceError):
            await host.run_command("remote", "show", ())
        await settle()
    assert host.statuses()[0].state == "degraded"
    assert "RuntimeError" in problem(backend)
    await host.apply_tables({"remote": {"enabled": False}})
    assert backend.health == {}, "disabling mends it"
    await host.stop()


async def test_fail__flood_of_lines_is_cut(backend, launcher, point) -> None:
    host = await started(backend, launcher, point)
    before = len(backend.lines)
    runner_log = plugin().kept._ask.__self__.log
    for _ in range(1000):
        runner_log("remote", "info", "flood", {})
    await settle()
    await settle()
    assert len(backend.lines) - before <= 60
    await host.stop()


async def test_fail__nonsense_ends_the_process(backend, launcher, point) -> None:
    host = await started(backend, launcher, point)
    launcher.launched[0].inner.post(b"\xc1nonsense")
    await settle()
    assert "nonsense" in problem(backend)
    await host.stop()
