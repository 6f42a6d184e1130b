"""The plugin as the core sees it: every hook under its contract, the service on the virtual clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import ClassVar

import pytest

from appliance.api import AttachedPrefix, DnsAnswer, HostFacts, NetmapChange, NodeInfo, RefreshKind
from appliance.api.testing import HOOK_CONTRACTS, FakeHost, PluginContract, settle
from plugins.app_connector.apps import CAPABILITY
from plugins.app_connector.config import AppConnectorConfig
from plugins.app_connector.hooks import AppConnector
from plugins.app_connector.service import STORE_S

CONFIG = AppConnectorConfig(True, {"shop": ("shop.example",)}, {"shop": ("198.51.100.0/24",)})
SELF = NodeInfo("n1", "gw", ("100.64.0.1",), ("198.51.100.0/24",), tags=("tag:c",))
ANSWER = DnsAnswer("shop.example", (("shop.example", "203.0.113.1", 60), ("shop.example", "192.168.1.9", 60)))


class TestContract(PluginContract):
    plugin_class = AppConnector
    config = CONFIG
    arguments: ClassVar = {"appliance_run_command": {"command": "routes", "arguments": ()}}


@pytest.fixture
async def running(fake_host: FakeHost) -> AsyncIterator[tuple[AppConnector, FakeHost]]:
    plugin = AppConnector()
    fake_host.attached = (AttachedPrefix("192.168.1.0/24", "eth0", "192.168.1.1"),)
    plugin.appliance_configure(CONFIG)
    plugin.appliance_netmap_changed(NetmapChange(full=True, self_node=SELF))
    (service,) = plugin.appliance_start(fake_host)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(service.run())
        await settle()
        yield plugin, fake_host
        task.cancel()


async def test_ok__learns_offers_keeps_and_forwards(running: tuple[AppConnector, FakeHost]) -> None:
    plugin, host = running
    assert plugin.appliance_contribute_routes() == ("198.51.100.0/24",)
    host.answers.note(ANSWER)
    await settle()
    routes = ("198.51.100.0/24", "203.0.113.1/32")
    assert plugin.appliance_contribute_routes() == routes
    assert plugin.appliance_contribute_firewall().forwarded == routes
    assert plugin.appliance_contribute_hostinfo().flags == {"AppConnector": True}
    assert {kind for kind, _ in host.refreshes} == {RefreshKind.HOSTINFO, RefreshKind.ROUTER}
    assert b"203.0.113.1" in host.store["learned"]
    values = {(each.name, each.labels.get("app")): each.value for each in plugin.appliance_metrics()}
    assert values["waypost_app_addresses", "shop"] == 1
    assert values["waypost_app_answers_total", "shop"] == 1
    assert values["waypost_app_routes_waiting", None] == 1
    reply = plugin.appliance_run_command("routes")
    assert json.loads(reply.text)["domains"] == {"shop.example": ["203.0.113.1"]}
    again = AppConnector()
    again.appliance_configure(CONFIG)
    (service,) = again.appliance_start(host)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(service.run())
        await settle()
        assert again.appliance_contribute_routes() == routes, "kept over a restart"
        task.cancel()


async def test_ok__what_was_seen_again_is_kept_too(running: tuple[AppConnector, FakeHost]) -> None:
    plugin, host = running
    host.answers.note(ANSWER)
    await settle()
    first = host.store["learned"]
    host.time.advance(STORE_S)
    host.answers.note(ANSWER)
    await settle()
    plugin.appliance_configure(CONFIG)  # has the service look
    await settle()
    assert host.store["learned"] != first, "with the later time, else a restart would forget a name in daily use"


async def test_ok__apps_of_the_policy_come_and_go(running: tuple[AppConnector, FakeHost]) -> None:
    plugin, host = running
    host.capabilities[CAPABILITY] = ({"name": "crm", "domains": ["crm.example"], "connectors": ["tag:c"]}, 7)
    plugin.appliance_netmap_changed(NetmapChange(self_node=SELF))
    await settle()
    host.answers.note(DnsAnswer("crm.example", (("crm.example", "203.0.113.5", 60),)))
    await settle()
    assert "203.0.113.5/32" in plugin.appliance_contribute_routes()
    assert "crm" in {row.label for row in plugin.appliance_status_panel().rows}
    host.capabilities.clear()
    plugin.appliance_netmap_changed(NetmapChange(self_node=SELF))
    await settle()
    assert plugin.appliance_contribute_routes() == ("198.51.100.0/24",)


async def test_ok__turned_off_it_offers_nothing(running: tuple[AppConnector, FakeHost]) -> None:
    plugin, host = running
    plugin.appliance_configure(AppConnectorConfig())
    await settle()
    host.answers.note(ANSWER)
    await settle()
    assert plugin.appliance_contribute_routes() == ()
    assert plugin.appliance_status_panel().rows[0].value == "off"
    assert plugin.appliance_check_health(HostFacts()) == ()


async def test_ok__health(running: tuple[AppConnector, FakeHost]) -> None:
    plugin, host = running

    def codes() -> set[str]:
        items = HOOK_CONTRACTS["appliance_check_health"](plugin, host, facts=HostFacts(forwarding_v4=False))
        return {item.code for item in items}

    assert codes() == {"ip-forwarding-off"}
    host.capabilities[CAPABILITY] = (7,)
    plugin.appliance_netmap_changed(NetmapChange(self_node=NodeInfo("n1", "gw")))
    await settle()
    assert codes() == {"ip-forwarding-off", "app-routes-not-approved", "apps-ignored"}
    plugin.appliance_configure(AppConnectorConfig(advertise=True))
    await settle()
    assert codes() == {"no-apps", "apps-ignored"}


def test_fail__unknown_command() -> None:
    assert not AppConnector().appliance_run_command("x").ok
