"""The guard's table, run on the twin of nftables."""

from dataclasses import replace
from ipaddress import ip_network

from appliance.ports.firewall import MemoryFirewall, render_create
from appliance.router.guard import render_guard
from appliance.router.model import Guard, RouterModel

GUARD = Guard(
    near=(ip_network("192.168.10.0/24"), ip_network("2001:db8:10::/64")), inside=(ip_network("100.64.0.0/10"),)
)
MODEL = RouterModel(guard=GUARD)


def rules(model, name):
    table = render_guard(model)
    assert table is not None
    return next(chain.rules for chain in table.chains if chain.name == name)


async def test_ok__stands_on_the_twin():
    table = render_guard(MODEL)
    assert table is not None
    await MemoryFirewall().apply(render_create(table))
    assert {item.name: list(item.elements) for item in table.sets} == {
        "near4": ["192.168.10.0/24"],
        "near6": ["2001:db8:10::/64"],
        "inside4": ["100.64.0.0/10"],
        "inside6": [],
        "direct4": [],
        "direct6": [],
    }


def test_ok__nothing_without_an_exit():
    assert render_guard(RouterModel()) is None


def test_ok__the_last_word_is_no():
    for name in ("leave", "pass"):
        assert rules(MODEL, name)[-1] == "counter reject with icmpx admin-prohibited"


def test_ok__lan_access_opens_attached_networks_to_the_host_only_then():
    open_guard = replace(MODEL, guard=replace(GUARD, lan_access=True))
    near = "ip daddr @near4 accept"
    assert near not in rules(MODEL, "leave")
    assert near in rules(open_guard, "leave")
    assert near in rules(MODEL, "pass"), "answers from the exit reach hosts behind this one"


def test_ok__control_and_answers_pass():
    leave = rules(MODEL, "leave")
    assert "meta mark & 0x00ff0000 == 0x00080000 accept" in leave
    assert "ct state established,related ct direction reply accept" in leave


def test_ok__excepted_destinations_are_open_to_host_and_site():
    for name in ("leave", "pass"):
        assert {"ip daddr @direct4 accept", "ip6 daddr @direct6 accept"} <= set(rules(MODEL, name))


def test_ok__hosts_behind_this_one_alone():
    alone = replace(MODEL, guard=replace(GUARD, gateway_direct=True))
    table = render_guard(alone)
    assert table is not None
    assert [chain.name for chain in table.chains] == ["stray", "pass", "hide"]
    assert rules(alone, "stray")[1] == "ip saddr @inside4 fib saddr . oif type != local counter drop"
    assert rules(alone, "pass") == rules(MODEL, "pass")
