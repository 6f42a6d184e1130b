"""The plugin as the core sees it: every hook under its contract."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from appliance.api import EgressGuard, EgressUplink, HostFacts, Location, NetmapChange, NodeInfo, OfferedRoute
from appliance.api.testing import HOOK_CONTRACTS, FakeHost, PluginContract
from plugins.exit_node.config import ExitNodeConfig
from plugins.exit_node.hooks import ExitNode
from plugins.exit_node.proxies import ForwarderPlaces
from plugins.exit_node.rules import DEFAULTS

PARIS = NodeInfo("n1", "paris.mesh.example", ("100.64.0.1",), DEFAULTS, online=True)
SELF = NodeInfo("n0", "here.mesh.example", ("100.64.0.9",))
OFFERED = tuple(OfferedRoute(route, "n1") for route in DEFAULTS)


class TestContract(PluginContract):
    plugin_class = ExitNode
    config = ExitNodeConfig(use="paris")
    arguments = {  # noqa: RUF012  # as the base class says
        "appliance_run_command": {"command": "list", "arguments": ("--json",)},
        "appliance_accept_routes": {"offered": OFFERED, "attached": ()},
    }


def check(hook: str, plugin: ExitNode, **arguments: Any) -> Any:
    return HOOK_CONTRACTS[hook](plugin, FakeHost("exit_node"), **arguments)


def joined(config: ExitNodeConfig, *peers: NodeInfo) -> ExitNode:
    plugin = ExitNode()
    check("appliance_configure", plugin, config=config)
    check("appliance_netmap_changed", plugin, change=NetmapChange(full=True, self_node=SELF, changed=peers))
    return plugin


def codes(plugin: ExitNode, facts: HostFacts | None = None) -> set[str]:
    return {item.code for item in check("appliance_check_health", plugin, facts=facts or HostFacts())}


def command(plugin: ExitNode, name: str) -> Any:
    return json.loads(check("appliance_run_command", plugin, command=name, arguments=("--json",)).text)


def test_ok__the_guard_does_not_wait_for_the_exit() -> None:
    plugin = ExitNode()
    check("appliance_configure", plugin, config=ExitNodeConfig(use="paris", site=True))
    assert check("appliance_contribute_firewall", plugin).guard == EgressGuard(site=True)
    assert check("appliance_accept_routes", plugin, offered=OFFERED, attached=()) is None
    assert codes(plugin) == set(), "before the first netmap nobody knows"


def test_ok__use() -> None:
    plugin = joined(ExitNodeConfig(use="paris"), PARIS)
    assert check("appliance_accept_routes", plugin, offered=OFFERED, attached=()).accepted == DEFAULTS
    assert check("appliance_contribute_hostinfo", plugin).exit_node == "n1"
    assert check("appliance_contribute_routes", plugin) == ()
    assert codes(plugin) == set()
    assert command(plugin, "status")["reachable"] is True
    assert [each["in_use"] for each in command(plugin, "list")] == [True]
    values = {metric.name: metric.value for metric in check("appliance_metrics", plugin)}
    assert (values["waypost_exits"], values["waypost_exit_wanted"], values["waypost_exit_up"]) == (1, 1, 1)


@pytest.mark.parametrize(
    "change",
    [
        NetmapChange(removed=("n1",)),
        NetmapChange(changed=(NodeInfo("n1", "paris.mesh.example", ("100.64.0.1",), ("10.0.0.0/8",), True),)),
        NetmapChange(changed=(NodeInfo("n1", "paris.mesh.example", ("100.64.0.1",), DEFAULTS, online=False),)),
    ],
    ids=["removed", "not offered any more", "offline"],
)
def test_ok__a_lost_exit_keeps_the_guard_and_is_said(change: NetmapChange) -> None:
    plugin = joined(ExitNodeConfig(use="paris"), PARIS)
    plugin.appliance_netmap_changed(change)
    assert codes(plugin) == {"exit-lost"}
    assert check("appliance_contribute_firewall", plugin).guard is not None
    assert command(plugin, "status")["reachable"] is False
    panel = check("appliance_status_panel", plugin)
    assert next(row for row in panel.rows if row.label == "In use").bad


def test_ok__offer() -> None:
    plugin = joined(ExitNodeConfig(advertise=True))
    assert check("appliance_contribute_routes", plugin) == DEFAULTS
    part = check("appliance_contribute_firewall", plugin)
    assert part.forwarded == DEFAULTS
    assert part.guard is None
    assert codes(plugin) == {"exit-not-approved"}
    assert codes(plugin, HostFacts(forwarding_v4=True, forwarding_v6=False)) == {
        "exit-not-approved",
        "exit-forwarding-off",
    }
    plugin.appliance_netmap_changed(NetmapChange(self_node=NodeInfo("n0", "here", routes=DEFAULTS)))
    assert codes(plugin) == set()
    assert command(plugin, "status")["approved"] is True


def test_ok__one_ip_version_is_said() -> None:
    half = NodeInfo("n1", "paris", ("100.64.0.1",), DEFAULTS[:1], online=True)
    assert codes(joined(ExitNodeConfig(use="paris"), half)) == {"exit-one-version"}


def test_ok__buttons_set_what_they_say() -> None:
    panel = check("appliance_status_panel", joined(ExitNodeConfig(), PARIS))
    assert {action.label: action.settings for action in panel.actions} == {
        "Use the exit paris": {"use": "n1"},
        "Offer this gateway as an exit": {"advertise": True},
    }
    panel = check("appliance_status_panel", joined(ExitNodeConfig(use="n1", site=True), PARIS))
    assert panel.actions[0].settings == {
        "use": "",
        "site": False,
        "gateway_direct": False,
        "hosts": [],
        "not_hosts": [],
    }
    assert panel.actions[1].settings == {"gateway_direct": True}
    for action in panel.actions:
        ExitNodeConfig(**{"use": "n1", "site": True, **action.settings})


def test_ok__where_exits_are() -> None:
    berlin = Location("Germany", "DE", "Berlin", "BER", 52.5, 13.4)
    plugin = joined(ExitNodeConfig(location=berlin), replace(PARIS, location=Location(city="Paris", country_code="FR")))
    assert check("appliance_contribute_hostinfo", plugin).location == berlin
    assert check("appliance_contribute_hostinfo", joined(ExitNodeConfig())).location is None
    assert command(plugin, "suggest")["location"]["city"] == "Paris"
    assert "Paris, FR" in check("appliance_run_command", plugin, command="list").text


def test_ok__an_exit_for_some_hosts_is_shown() -> None:
    config = ExitNodeConfig(use="paris", site=True, hosts=("eth1",), not_hosts=("10.0.0.7",), direct=("192.0.2.0/24",))
    plugin = joined(config, PARIS)
    guard = check("appliance_contribute_firewall", plugin).guard
    assert guard == EgressGuard(site=True, hosts=("eth1",), not_hosts=("10.0.0.7",), direct=("192.0.2.0/24",))
    found = command(plugin, "status")
    assert (found["hosts"], found["not_hosts"], found["direct"]) == (["eth1"], ["10.0.0.7"], ["192.0.2.0/24"])
    text = check("appliance_run_command", plugin, command="status").text
    assert "use it too: eth1; not 10.0.0.7" in text
    assert "excepted destinations: 192.0.2.0/24" in text
    rows = {row.label: row.value for row in check("appliance_status_panel", plugin).rows}
    assert (rows["Only these hosts"], rows["Not these hosts"]) == ("eth1", "10.0.0.7")


def test_ok__an_exit_for_hosts_alone_is_shown() -> None:
    config = ExitNodeConfig(use="paris", site=True, gateway_direct=True)
    plugin = joined(config, PARIS)
    assert check("appliance_contribute_firewall", plugin).guard == EgressGuard(site=True, gateway_direct=True)
    assert command(plugin, "status")["gateway_direct"] is True
    text = check("appliance_run_command", plugin, command="status").text
    assert text.endswith("this gateway itself: leaves directly")
    panel = check("appliance_status_panel", plugin)
    rows = {row.label: row.value for row in panel.rows}
    assert (rows["Protected"], rows["This gateway itself"]) == ("hosts behind this gateway", "leaves directly")
    assert [action.settings for action in panel.actions][1:] == [{"gateway_direct": False}]


def test_ok__what_a_proxy_does_with_udp_is_said() -> None:
    plugin = joined(ExitNodeConfig(advertise=True, uplink="socks5://192.0.2.9"))
    plugin._forwarder_placed(ForwarderPlaces(4000, no_udp="the proxy says: command not supported"))
    assert command(plugin, "status")["uplink_no_udp"] == "the proxy says: command not supported"
    text = check("appliance_run_command", plugin, command="status").text
    assert "their UDP is refused: the proxy says: command not supported" in text
    rows = {row.label: row.value for row in check("appliance_status_panel", plugin).rows}
    assert rows["Their UDP"] == "refused"
    plugin._forwarder_placed(ForwarderPlaces(4000, udp_port=4001, associations=3, lost=2))
    assert command(plugin, "status")["uplink_no_udp"] == ""
    assert check("appliance_contribute_firewall", plugin).uplink == EgressUplink(port=4000, udp_port=4001)
    values = {metric.name: metric.value for metric in check("appliance_metrics", plugin)}
    assert (values["waypost_exit_udp_associations"], values["waypost_exit_udp_lost_total"]) == (3, 2)


def test_ok__regions_that_are_kept_are_shown() -> None:
    plugin = joined(ExitNodeConfig(use="auto", regions=("de", "fra")), PARIS)
    assert command(plugin, "status")["regions"] == ["de", "fra"]
    assert "only exits in: de, fra" in check("appliance_run_command", plugin, command="status").text
    rows = {row.label: row.value for row in check("appliance_status_panel", plugin).rows}
    assert rows["Only exits in"] == "de, fra"


def test_ok__commands_speak_to_people_too() -> None:
    plugin = joined(ExitNodeConfig(use="n9"), PARIS)
    text = {name: check("appliance_run_command", plugin, command=name).text for name in ("list", "status", "suggest")}
    assert "suggested" in text["list"]
    assert "everything is stopped" in text["status"]
    assert text["suggest"].startswith("paris.mesh.example")
    assert not check("appliance_run_command", plugin, command="list", arguments=("--xml",)).ok
    assert command(joined(ExitNodeConfig()), "suggest") is None
