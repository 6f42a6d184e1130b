"""Each contract must refuse a plugin that breaks it."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.api import (
    AttachedPrefix,
    CommandReply,
    EgressGuard,
    EgressUplink,
    FirewallPart,
    HealthItem,
    HostFacts,
    HostinfoPart,
    HostinfoService,
    Metric,
    NetmapChange,
    OfferedRoute,
    Panel,
    PanelForm,
    PanelRow,
    RelayOffer,
    RelayRequest,
    RouteSelection,
    TrafficShape,
    hookimpl,
)
from appliance.api.testing import HOOK_CONTRACTS, FakeHost
from appliance.api.testing.contracts import check_forms

KEY = "discokey:" + "51" * 32
LAN = AttachedPrefix("192.168.1.0/24", "eth0")
ARGUMENTS: dict[str, dict[str, Any]] = {
    "appliance_configure": {"config": Panel("any frozen value")},
    "appliance_netmap_changed": {"change": NetmapChange()},
    "appliance_accept_routes": {"offered": (OfferedRoute("192.168.1.0/24", "n"),), "attached": (LAN,)},
    "appliance_check_health": {"facts": HostFacts()},
    "appliance_relay_request": {"request": RelayRequest("n", (KEY, KEY))},
    "appliance_run_command": {"command": "show"},
}
BAD: list[tuple[str, Any]] = [
    ("appliance_configure", "something"),
    ("appliance_start", ("not a service",)),
    ("appliance_netmap_changed", "something"),
    ("appliance_contribute_hostinfo", HostinfoPart((HostinfoService("tcp", 0),))),
    ("appliance_contribute_routes", ("10.0.0.0/8", "10.0.0.0/8")),
    ("appliance_contribute_routes", ("10.0.0.0/08",)),
    ("appliance_accept_routes", RouteSelection({"192.168.1.0/24": ""})),
    ("appliance_accept_routes", RouteSelection({"10.0.0.0/8": ""})),
    ("appliance_accept_routes", RouteSelection({"192.168.1.0/24": "no"}, own_first=("192.168.1.0/24",))),
    ("appliance_contribute_firewall", "something"),
    ("appliance_contribute_firewall", FirewallPart(guard=EgressGuard(direct=("10.0.0.1/8",)))),
    ("appliance_contribute_firewall", FirewallPart(guard=EgressGuard(hosts=("no host",)))),
    ("appliance_contribute_firewall", FirewallPart(shapes=(TrafficShape(("10.0.0.0/8",), 1, "a"),) * 2)),
    ("appliance_contribute_firewall", FirewallPart(uplink=EgressUplink("wg0", 4000))),
    ("appliance_contribute_firewall", FirewallPart(uplink=EgressUplink(port=1 << 16))),
    ("appliance_contribute_firewall", FirewallPart(uplink=EgressUplink("wg0", resolvers=("dns.example",)))),
    ("appliance_relay_request", RelayOffer(KEY, 1, 0, 30, 300, ("203.0.113.5:1",))),
    ("appliance_relay_request", RelayOffer(KEY, 1, 1, 30, 300, ())),
    ("appliance_relay_request", RelayOffer(KEY, 1, 1, 30, 300, ("nowhere",))),
    ("appliance_relay_request", RelayOffer("nodekey:1", 1, 1, 30, 300, ("203.0.113.5:1",))),
    ("appliance_check_health", (HealthItem("code", "text"),)),
    ("appliance_check_health", (HealthItem("Bad Code", "text", "mend"),)),
    ("appliance_status_panel", Panel("t", rows=(PanelRow("a", "<b>x</b>"),))),
    ("appliance_status_panel", Panel("t", forms=(PanelForm("A", ("a",)), PanelForm("A", ("b",))))),
    ("appliance_status_panel", Panel("t", forms=(PanelForm("A", ("a", "a")),))),
    ("appliance_status_panel", Panel("t", forms=(PanelForm(""),))),
    ("appliance_metrics", (Metric("other_name", 1, "help"),)),
    ("appliance_run_command", CommandReply(" ")),
    ("appliance_run_command", None),
    ("appliance_stop", "something"),
]


def plugin_returning(hook: str, result: Any) -> object:
    def implementation(self: object) -> Any:
        return result

    return type("Plugin", (), {hook: hookimpl(implementation)})()


@pytest.mark.parametrize(("hook", "result"), BAD, ids=[hook for hook, _ in BAD])
def test_fail__contract_is_broken(hook: str, result: Any) -> None:
    with pytest.raises(Exception):  # noqa: B017  # assertion, address or JSON error: all fail a test
        HOOK_CONTRACTS[hook](plugin_returning(hook, result), FakeHost(), **ARGUMENTS.get(hook, {}))


@pytest.mark.parametrize("hook", sorted(set(HOOK_CONTRACTS) - {"appliance_run_command"}))
def test_ok__contract_is_kept_by_nothing(hook: str) -> None:
    HOOK_CONTRACTS[hook](plugin_returning(hook, None), FakeHost(), **ARGUMENTS.get(hook, {}))


def test_ok__command_replies() -> None:
    plugin = plugin_returning("appliance_run_command", CommandReply("1234"))
    reply = HOOK_CONTRACTS["appliance_run_command"](plugin, FakeHost(), **ARGUMENTS["appliance_run_command"])
    assert reply.text == "1234"


def test_fail__hook_without_marker() -> None:
    plugin = type("Plugin", (), {"appliance_stop": lambda self: None})()
    with pytest.raises(AssertionError, match="hookimpl"):
        HOOK_CONTRACTS["appliance_stop"](plugin, FakeHost())


def test_ok__every_contract_can_fail() -> None:
    assert {hook for hook, _ in BAD} == set(HOOK_CONTRACTS)


def test_fail__form_that_names_no_setting() -> None:
    check_forms(None, Panel("x"))
    check_forms(Panel("t", forms=(PanelForm("A", ("title",)), PanelForm("All"))), Panel("x"))
    for key in ("limit", "rows"):
        with pytest.raises(AssertionError, match=key):
            check_forms(Panel("t", forms=(PanelForm("A", ("title", key)),)), Panel("x"))
