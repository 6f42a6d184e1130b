"""What users of an exit go on by: rules, routes, and the guard's table on the twin of nftables."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from appliance.ports.firewall import MemoryFirewall, render_create
from appliance.ports.netlink import PolicyRule, Route
from appliance.ports.sysctl import MemorySysctl
from appliance.router.forwarding import wishes
from appliance.router.guard import render_guard
from appliance.router.model import ExitUplink, Guard, RouterModel
from appliance.router.routes import desired, ours

V4, V6 = ip_network("0.0.0.0/0"), ip_network("::/0")
LINK = ExitUplink("wg0", (ip_network("10.64.0.2/32"),), frozenset({4, 6}), site=(ip_network("192.168.1.0/24"),))
MODEL = RouterModel(exit_uplink=LINK)


def table_54(model: RouterModel) -> set[tuple[str, str, str]]:
    routes = [item for item in desired(model) if isinstance(item, Route) and item.table == 54]
    return {(str(item.destination), str(item.kind), item.interface) for item in routes}


def rules_of(model: RouterModel, name: str) -> tuple[str, ...]:
    table = render_guard(model)
    assert table is not None
    return next(chain.rules for chain in table.chains if chain.name == name)


def test_ok__the_link_or_nothing() -> None:
    ends = {("0.0.0.0/0", "unreachable", ""), ("::/0", "unreachable", "")}
    assert table_54(RouterModel()) == set()
    assert table_54(MODEL) == ends | {("0.0.0.0/0", "unicast", "wg0"), ("::/0", "unicast", "wg0")}
    half = replace(LINK, versions=frozenset({4}))
    assert table_54(replace(MODEL, exit_uplink=half)) == ends | {("0.0.0.0/0", "unicast", "wg0")}
    assert table_54(replace(MODEL, exit_uplink=replace(LINK, versions=frozenset()))) == ends


def test_ok__a_program_takes_connections() -> None:
    model = RouterModel(exit_uplink=ExitUplink(port=4000))
    assert {("0.0.0.0/0", "local", "lo"), ("::/0", "local", "lo")} <= table_54(model)
    onward = " ".join(rules_of(model, "onward"))
    assert "meta l4proto tcp tproxy ip to 127.0.0.1:4000" in onward
    assert "tproxy ip6 to [::1]:4000" in onward
    assert not [rule for rule in rules_of(model, "confine") if rule.endswith(" accept")]


def test_ok__a_program_takes_udp_where_it_can() -> None:
    both = " ".join(rules_of(RouterModel(exit_uplink=ExitUplink(port=4000, udp_port=4001)), "onward"))
    assert "meta l4proto udp tproxy ip to 127.0.0.1:4001" in both
    assert "meta l4proto udp tproxy ip6 to [::1]:4001" in both
    assert "l4proto udp" not in " ".join(rules_of(RouterModel(exit_uplink=ExitUplink(port=4000)), "onward"))


def test_ok__only_marked_packets_go_there() -> None:
    rules = [item for item in desired(MODEL) if isinstance(item, PolicyRule) and item.table == 54]
    assert {(rule.version, rule.priority, rule.mark, rule.mask) for rule in rules} == {
        (4, 5260, 0x20000, 0xFF0000),
        (6, 5260, 0x20000, 0xFF0000),
    }
    assert not [item for item in desired(RouterModel()) if isinstance(item, PolicyRule) and item.table == 54]


def test_ok__what_a_run_left_is_found_again() -> None:
    items = list(desired(MODEL))
    routes = [item for item in items if isinstance(item, Route)]
    rules = [item for item in items if isinstance(item, PolicyRule)]
    assert set(ours("waypost0", [], routes, rules)) >= {*routes, *rules}


def test_ok__the_last_word_is_no() -> None:
    confine = rules_of(MODEL, "confine")
    assert confine[0] == 'iifname != "waypost0" return'
    assert confine[-2:] == ('oifname "wg0" accept', "counter reject with icmpx admin-prohibited")


def test_ok__the_host_says_nothing_of_users_flows_elsewhere() -> None:
    own = rules_of(MODEL, "own")
    assert own[0] == 'oifname { "lo", "waypost0", "wg0" } return'
    assert own[-3:-1] == ("ip saddr @uplink4 counter drop", "ip6 saddr @uplink6 counter drop")
    assert own[-1].startswith("tcp flags & rst == rst fib saddr . oif type != local")
    assert rules_of(RouterModel(exit_uplink=ExitUplink(port=4000)), "own")[0] == 'oifname { "lo", "waypost0" } return'
    table = render_guard(MODEL)
    assert table is not None
    assert {item.name: list(item.elements) for item in table.sets}["uplink4"] == ["10.64.0.2"]


async def test_ok__stands_on_the_twin_beside_a_guard() -> None:
    firewall = MemoryFirewall()
    for model in (MODEL, replace(MODEL, guard=Guard()), RouterModel(exit_uplink=ExitUplink(port=4000))):
        table = render_guard(model)
        assert table is not None
        await firewall.apply(render_create(table))
        assert {"onward", "confine"} <= set(firewall.tables["inet", "waypost_guard"].chains)


async def test_ok__strict_filters_let_answers_in() -> None:
    sysctl = MemorySysctl({"net/ipv4/conf/all/rp_filter": "1", "net/ipv4/conf/wg0/rp_filter": "0"})
    assert [wish.key for wish in await wishes(MODEL, sysctl, ())] == ["net/ipv4/conf/wg0/rp_filter"]
    away = replace(MODEL, exit_uplink=replace(LINK, versions=frozenset()))
    assert await wishes(away, sysctl, ()) == []
