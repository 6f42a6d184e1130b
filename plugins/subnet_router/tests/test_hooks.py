"""The plugin as the core sees it: every hook under its contract."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appliance.api import AttachedPrefix, HostFacts, NetmapChange, NodeInfo, OfferedRoute
from appliance.api.testing import HOOK_CONTRACTS, FakeHost
from plugins.subnet_router.config import SubnetRouterConfig
from plugins.subnet_router.hooks import SubnetRouter

LAN = AttachedPrefix("192.168.10.0/24", "eth1", "192.168.10.1")
PEER = NodeInfo("n2", "b.net.example", ("100.64.0.2",), ("192.168.20.0/24",))
OFFERED = (OfferedRoute("192.168.20.0/24", "n2"), OfferedRoute("192.168.10.0/24", "n3"))


def self_node(*routes: str) -> NodeInfo:
    return NodeInfo("n1", "a.net.example", ("100.64.0.1",), routes)


@pytest.fixture
def router() -> SubnetRouter:
    plugin = SubnetRouter()
    check(
        "appliance_configure", plugin, config=SubnetRouterConfig(("192.168.10.0/24",), accept_routes=True, snat=False)
    )
    return plugin


def check(hook: str, plugin: SubnetRouter, **arguments: Any) -> Any:
    return HOOK_CONTRACTS[hook](plugin, FakeHost("subnet_router"), **arguments)


def codes(plugin: SubnetRouter, facts: HostFacts | None = None) -> set[str]:
    return {item.code for item in check("appliance_check_health", plugin, facts=facts or HostFacts())}


def test_ok__contributions(router: SubnetRouter) -> None:
    assert check("appliance_contribute_routes", router) == ("192.168.10.0/24",)
    part = check("appliance_contribute_firewall", router)
    assert part.snat is False
    assert part.forwarded == ("192.168.10.0/24",)
    assert [service.name for service in check("appliance_start", router)] == ["lan-watch", "4via6", "limits"]


def test_ok__translations_are_told_to_peers_and_shown_with_names(router: SubnetRouter) -> None:
    assert check("appliance_contribute_hostinfo", router).services == ()
    check("appliance_configure", router, config=SubnetRouterConfig(translate=("192.168.1.0/24 as 10.7.1.0/24",)))
    (told,) = check("appliance_contribute_hostinfo", router).services
    assert (told.proto, told.port, told.description) == ("waypost-translation", 1, "192.168.1.0/24 as 10.7.1.0/24")
    router.appliance_netmap_changed(NetmapChange(full=True, self_node=self_node()))
    (shown,) = json.loads(router.appliance_run_command("translation", ()).text)["one_to_one"]
    assert shown == {"inside": "192.168.1.0/24", "outside": "10.7.1.0/24", "name": "192-168-1-1-via-a"}
    details = [row.detail for row in router.appliance_status_panel().rows if row.label == "One to one"]
    assert details == ["hosts have names like 192-168-1-1-via-a"]


def test_ok__verdicts(router: SubnetRouter) -> None:
    assert check("appliance_accept_routes", router, offered=OFFERED, attached=(LAN,)).accepted == ("192.168.20.0/24",)
    check("appliance_configure", router, config=SubnetRouterConfig())
    assert check("appliance_accept_routes", router, offered=OFFERED, attached=(LAN,)).accepted == ()


def test_ok__own_routes_first_are_told_and_shown(router: SubnetRouter) -> None:
    check("appliance_configure", router, config=SubnetRouterConfig(accept_routes=True, own_first=("all",)))
    assert check("appliance_accept_routes", router, offered=OFFERED[:1], attached=()).own_first == ("192.168.20.0/24",)
    (row,) = (row for row in router.appliance_status_panel().rows if row.label == "Accepted")
    assert (row.value, row.detail) == ("192.168.20.0/24", "after this host's own routes")


def test_ok__health_follows_approval(router: SubnetRouter) -> None:
    assert codes(router) == set()
    check("appliance_netmap_changed", router, change=NetmapChange(full=True, self_node=self_node()))
    assert codes(router) == {"routes-not-approved"}
    router.appliance_netmap_changed(NetmapChange(self_node=self_node("192.168.10.0/24")))
    assert codes(router) == set()


def test_ok__health_names_what_is_off(router: SubnetRouter) -> None:
    assert codes(router, HostFacts(forwarding_v4=False, forwarding_v6=False)) == {"ip-forwarding-off"}
    assert codes(router, HostFacts(forwarding_v4=True, forwarding_v6=False)) == set()
    check("appliance_accept_routes", router, offered=OFFERED[1:], attached=(AttachedPrefix("192.168.10.0/24", "eth9"),))
    assert codes(router) == set(), "both ends advertise it: no conflict"
    check("appliance_configure", router, config=SubnetRouterConfig(accept_routes=True))
    check("appliance_accept_routes", router, offered=OFFERED, attached=(LAN,))
    assert codes(router) == {"route-conflict"}


def test_ok__peers_that_offer_are_counted() -> None:
    plugin = SubnetRouter()
    plugin.appliance_netmap_changed(NetmapChange(full=True, changed=(PEER, NodeInfo("n3", "c"))))
    assert codes(plugin) == {"routes-not-accepted"}
    plugin.appliance_netmap_changed(NetmapChange(removed=("n2",)))
    assert codes(plugin) == set()
    plugin.appliance_netmap_changed(NetmapChange(changed=(PEER,)))
    plugin.appliance_netmap_changed(NetmapChange(changed=(NodeInfo("n2", "b", routes=("0.0.0.0/0",)),)))
    assert codes(plugin) == set()


def test_ok__panel_and_metrics(router: SubnetRouter) -> None:
    check("appliance_accept_routes", router, offered=OFFERED, attached=(LAN,))
    router.appliance_netmap_changed(NetmapChange(full=True, self_node=self_node(), changed=(PEER,)))
    panel = check("appliance_status_panel", router)
    assert ("Advertised", "192.168.10.0/24", "waits for approval") in {(r.label, r.value, r.detail) for r in panel.rows}
    assert ("Accepted", "192.168.20.0/24") in {(row.label, row.value) for row in panel.rows}
    values = {metric.name: metric.value for metric in check("appliance_metrics", router)}
    assert values == {
        "waypost_advertised_routes": 1,
        "waypost_approved_routes": 0,
        "waypost_accepted_routes": 1,
        "waypost_refused_routes": 1,
        "waypost_lost_networks": 0,
        "waypost_primary_routes": 0,
        "waypost_network_withdrawals_total": 0,
    }


def test_ok__panel_says_who_serves(router: SubnetRouter) -> None:
    check("appliance_accept_routes", router, offered=(), attached=(LAN,))
    router.appliance_netmap_changed(
        NetmapChange(full=True, self_node=NodeInfo("n1", "a", routes=("192.168.10.0/24",), primary=("10.0.0.0/8",)))
    )
    rows = {row.label: row for row in check("appliance_status_panel", router).rows}
    assert rows["Advertised"].detail == "approved, another router serves it now"
    assert "via 192.168.10.1" in rows["Source address"].detail
