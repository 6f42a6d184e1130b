"""The plugin as the core sees it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from appliance.api import AttachedPrefix, Neighbour
from appliance.api.testing import FakeHost, PluginContract
from appliance.pluginhost.settings import parse_settings
from appliance.types.errors import ApplianceError, ConfigError
from plugins.wake_on_lan.config import MAX_HOSTS, WakeOnLanConfig
from plugins.wake_on_lan.hooks import WakeOnLan
from plugins.wake_on_lan.learner import LOOK_S
from plugins.wake_on_lan.state import KEPT, MAX_LEARNED, MAX_WAITING

MAC = "00:1a:2b:3c:4d:5e"
CONFIG = WakeOnLanConfig({"nas": "00-1A-2B-3C-4D-5E on lan0", "printer": f"{MAC[:-1]}f via gateway-b", "pc": MAC})


class TestContract(PluginContract):
    plugin_class = WakeOnLan
    config = CONFIG
    arguments = {"appliance_run_command": {"command": "list"}}  # noqa: RUF012  # as the base class says


def made(host: FakeHost, config: WakeOnLanConfig = CONFIG) -> tuple[WakeOnLan, asyncio.Task[None]]:
    plugin = WakeOnLan()
    plugin.appliance_configure(config)
    waker, _ = plugin.appliance_start(host)
    return plugin, asyncio.ensure_future(waker.run())


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def result(plugin: WakeOnLan, *arguments: str) -> dict[str, Any]:
    reply = plugin.appliance_run_command("wake", arguments)
    assert reply.ok, reply.text
    number = str(json.loads(reply.text)["number"])
    for _ in range(20):  # turns of the loop
        await asyncio.sleep(0)
    view: dict[str, Any] = json.loads(plugin.appliance_run_command("result", (number,)).text)
    assert not plugin.appliance_run_command("result", (number,)).ok, "told once"
    return view


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (("nas",), (MAC, "lan0", "")),
        (("NAS", "--interface", "lan1"), (MAC, "lan1", "")),
        (("printer",), (f"{MAC[:-1]}f", "", "gateway-b")),
        (("001a.2b3c.4d5e", "--via", "gateway-c"), (MAC, "", "gateway-c")),
    ],
)
async def test_ok__by_name_and_by_hardware_address(
    fake_host: FakeHost, arguments: tuple[str, ...], asked: tuple[str, str, str]
) -> None:
    plugin, task = made(fake_host)
    view = await result(plugin, *arguments)
    assert fake_host.woken == [asked]
    assert (view["error"], view["sent"]) == ("", [asked[1] or "lan0"])
    await ended(task)


async def test_ok__panel_has_a_button_for_each_host(fake_host: FakeHost) -> None:
    plugin, task = made(fake_host)
    fake_host.refuse_wake = ApplianceError("no network is attached", mend="attach one")
    assert (await result(plugin, "pc"))["mend"] == "attach one"
    fake_host.refuse_wake = None
    await result(plugin, "nas")
    panel = plugin.appliance_status_panel()
    assert panel is not None
    assert [action.command for action in panel.actions] == [("wake", "nas"), ("wake", "pc"), ("wake", "printer")]
    assert [(row.label, row.bad) for row in panel.rows] == [("nas", False), ("pc", True), ("printer", False)]
    assert "called on lan0" in panel.rows[0].detail
    assert panel.rows[2].value.endswith("at gateway-b")
    assert [metric.value for metric in plugin.appliance_metrics()] == [1, 1]
    await ended(task)


async def learned(host: FakeHost, plugin: WakeOnLan) -> list[str]:
    _, learner = plugin.appliance_start(host)
    task = asyncio.ensure_future(learner.run())
    await host.time.pass_time(LOOK_S)
    await ended(task)
    found = json.loads(plugin.appliance_run_command("list", ("--json",)).text)
    return [each["name"] for each in found if each["learned"]]


async def test_ok__a_host_that_was_seen_is_woken_by_its_address(fake_host: FakeHost) -> None:
    fake_host.known_neighbours = (Neighbour("192.168.10.9", MAC, "lan0"), Neighbour("192.168.10.10", MAC, "lan0"))
    assert await learned(fake_host, WakeOnLan()) == ["192.168.10.10", "192.168.10.9"]
    fake_host.known_neighbours = ()
    plugin, task = made(fake_host)
    assert len(await learned(fake_host, plugin)) == 2, "asleep, and after a restart"
    assert "was seen" in plugin.appliance_run_command("list", ()).text
    await result(plugin, "192.168.10.9")
    assert fake_host.woken == [(MAC, "lan0", "")]
    await ended(task)


async def test_ok__learning_can_be_off_and_is_bounded(fake_host: FakeHost) -> None:
    fake_host.known_neighbours = tuple(Neighbour(f"10.0.{n // 256}.{n % 256}", MAC, "lan0") for n in range(1000))
    assert len(await learned(fake_host, WakeOnLan())) == MAX_LEARNED
    plugin = WakeOnLan()
    plugin.appliance_configure(WakeOnLanConfig(learn=False))
    assert await learned(fake_host, plugin) == []
    assert fake_host.store == {}, "forgotten"
    fake_host.store = {"learned": b"{nonsense"}
    fake_host.known_neighbours = ()
    assert await learned(fake_host, WakeOnLan()) == []


async def test_ok__hosts_that_cannot_be_woken_are_said(fake_host: FakeHost) -> None:
    plugin = WakeOnLan()
    plugin.appliance_configure(CONFIG)
    assert plugin.appliance_check_health() == (), "nothing is known yet"
    fake_host.attached = (AttachedPrefix("192.168.10.0/24", "lan1", "192.168.10.1"),)
    await learned(fake_host, plugin)
    (item,) = plugin.appliance_check_health()
    assert (item.code, "nas (lan0)" in item.text, bool(item.mend)) == ("wake-no-network", True, True)
    panel = plugin.appliance_status_panel()
    assert panel is not None
    assert panel.health == (item,)
    fake_host.attached = (AttachedPrefix("192.168.10.0/24", "lan0", "192.168.10.1"),)
    await learned(fake_host, plugin)
    assert plugin.appliance_check_health() == ()


def test_ok__panel_without_hosts_offers_to_set_some() -> None:
    plugin = WakeOnLan()
    panel = plugin.appliance_status_panel()
    assert panel is not None
    assert ([row.value for row in panel.rows], panel.actions) == (["none"], ())
    assert panel.forms[0].keys == ("hosts", "learn")
    assert "no hosts" in plugin.appliance_run_command("list", ()).text
    assert json.loads(plugin.appliance_run_command("list", ("--json",)).text) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "usage"),
        (("nas", "--interface"), "usage"),
        (("nas", "--loud", "yes"), "usage"),
        (("tv",), "set are: nas, pc, printer"),
        (("nas", "--interface", "a b"), "no interface"),
        (("nas", "--via", "-x"), "no gateway"),
    ],
)
def test_fail__wishes_that_are_not_understood(arguments: tuple[str, ...], words: str) -> None:
    plugin = WakeOnLan()
    plugin.appliance_configure(CONFIG)
    reply = plugin.appliance_run_command("wake", arguments)
    assert not reply.ok
    assert words in reply.text


def test_fail__more_wishes_than_wait() -> None:
    plugin = WakeOnLan()
    plugin.appliance_configure(CONFIG)
    replies = [plugin.appliance_run_command("wake", ("nas",)) for _ in range(MAX_WAITING + 1)]
    assert [reply.ok for reply in replies] == [True] * MAX_WAITING + [False]
    assert MAX_WAITING < KEPT, "a wish that waits keeps its result"


@pytest.mark.parametrize(
    ("hosts", "key"),
    [
        ({"nas": "nonsense"}, "hosts.nas"),
        ({"nas": ""}, "hosts.nas"),
        ({"nas": "ff:ff:ff:ff:ff:ff"}, "hosts.nas"),
        ({"nas": f"{MAC} on"}, "hosts.nas"),
        ({"nas": f"{MAC} by lan0"}, "hosts.nas"),
        ({"nas": f"{MAC} on a/b"}, "hosts.nas"),
        ({"NAS!": MAC}, "hosts.NAS!"),
        ({f"h{n}": MAC for n in range(MAX_HOSTS + 1)}, "hosts"),
        ({"nas": 5}, "hosts"),
    ],
)
def test_fail__settings(hosts: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings("wake_on_lan", WakeOnLanConfig, {"hosts": hosts})
    assert caught.value.text.startswith(f"plugins.wake_on_lan.{key}")
