"""Grants: the vectors of policy-and-management spec 2.9, capabilities, via, postures, IP sets and services."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network

import pytest

from appliance.types.netmap import CapGrant, FilterRule, PortRange
from control.policy.problems import PolicyError
from control.policy.ranges import INTERNET, WILDCARD
from tests.unit.control.policy.mesh import ALL4, LAN, MESH, Box, compiled

N1, N3, R = (
    ("100.64.0.1", "fd7a:115c:a1e0::1"),
    ("100.64.0.3", "fd7a:115c:a1e0::3"),
    ("100.64.0.9", "fd7a:115c:a1e0::9"),
)


def peers(policy):
    return {number: set(policy.visible_peers(number)) for number in (1, 2, 3, 9)}


def networks(texts):
    return tuple(ip_network(text) for text in texts)


def test_ok__vector_route_and_self():
    policy = compiled(
        '"grants": [{"src": ["a@"], "dst": ["10.0.0.0/24"], "ip": ["tcp:443"]},'
        ' {"src": ["autogroup:member"], "dst": ["autogroup:self"], "ip": ["*"]}]'
    )
    both = ("100.64.0.1-100.64.0.2", "fd7a:115c:a1e0::1-fd7a:115c:a1e0::2")
    assert policy.filter_rules(9) == (FilterRule(both, (PortRange("10.0.0.0/24", 443, 443),), (6,)),)
    assert policy.filter_rules(1) == (FilterRule(both, tuple(PortRange(text) for text in N1)),)
    assert policy.filter_rules(3) == (FilterRule(N3, tuple(PortRange(text) for text in N3)),)
    assert peers(policy) == {1: {2, 9}, 2: {1, 9}, 3: set(), 9: {1, 2}}


def test_ok__vector_drive_tells_both_sides():
    drive = '{"tailscale.com/cap/drive": [{"shares": ["*"], "access": "rw"}]}'
    policy = compiled(f'"grants": [{{"src": ["b@"], "dst": ["tag:r"], "app": {drive}}}]')
    value = {"tailscale.com/cap/drive": ({"shares": ["*"], "access": "rw"},)}
    assert policy.filter_rules(9) == (FilterRule(N3, cap_grants=(CapGrant(networks(R), value),)),)
    sharer = CapGrant(networks(N3), {"tailscale.com/cap/drive-sharer": ()})
    assert policy.filter_rules(3) == (FilterRule(R, cap_grants=(sharer,)),)
    assert peers(policy) == {1: set(), 2: set(), 3: {9}, 9: {3}}


def test_ok__vector_via_keeps_the_literal_destination():
    policy = compiled('"grants": [{"src": ["b@"], "dst": ["10.0.0.0/8"], "ip": ["*"], "via": ["tag:r"]}]')
    assert policy.filter_rules(9) == (FilterRule(N3, (PortRange("10.0.0.0/8"),)),)
    assert policy.steered(3, 9).given == {LAN}
    assert peers(policy) == {1: set(), 2: set(), 3: {9}, 9: {3}}


def test_ok__via_takes_the_route_from_routers_without_the_tag():
    other = Box(8, None, ("tag:s",), (LAN,))
    grant = '{"src": ["b@"], "dst": ["10.0.0.0/24"], "ip": ["*"], "via": ["tag:r"]}'
    policy = compiled(f'"grants": [{grant}, {{"src": ["b@"], "dst": ["tag:s"], "ip": ["*"]}}]', [*MESH, other])
    assert policy.steered(3, 9).given == {LAN}
    assert policy.steered(3, 8).taken == {LAN}
    assert policy.steered(1, 8) == (frozenset(), frozenset())


def test_ok__of_several_via_routers_the_lowest_id_serves_and_its_end_is_told():
    other = Box(8, None, ("tag:r",), (LAN,))
    policy = compiled(
        '"grants": [{"src": ["b@"], "dst": ["10.0.0.0/8"], "ip": ["*"], "via": ["tag:r"]}]', [*MESH, other]
    )
    assert policy.steered(3, 8).given == {LAN}
    assert policy.steered(3, 9).taken == {LAN}
    assert policy.remove_node(8).rerouted == {9}
    assert policy.steered(3, 9).given == {LAN}


def test_ok__a_plain_grant_lets_the_primary_carry():
    policy = compiled(
        '"grants": [{"src": ["b@"], "dst": ["10.0.0.0/8"], "ip": ["*"], "via": ["tag:r"]},'
        ' {"src": ["b@"], "dst": ["10.0.0.0/24"], "ip": ["*"]}]'
    )
    assert policy.steered(3, 9) == (frozenset(), frozenset())
    assert policy.may_use(3, 9, LAN)


def test_ok__via_an_exit_node():
    exits = [Box(7, None, ("tag:r",), (), (ALL4,)), Box(8, None, ("tag:s",), (), (ALL4,))]
    policy = compiled(
        '"grants": [{"src": ["b@"], "dst": ["autogroup:internet"], "ip": ["*"], "via": ["tag:r"]}]', [*MESH, *exits]
    )
    assert policy.steered(3, 7).given == {ALL4}
    assert policy.steered(3, 8).taken == {ALL4}
    [rule] = policy.filter_rules(7)
    assert len(rule.dst_ports) == len(INTERNET)
    assert policy.filter_rules(8) == ()


def test_ok__capabilities_narrow_to_own_addresses_and_keep_subnets():
    policy = compiled(
        '"grants": [{"src": ["a@"], "dst": ["10.0.0.0/8", "100.64.0.0/24"], "app": {"x.org/cap": [{"n": 1}]}}]'
    )
    [rule] = policy.filter_rules(9)
    assert [grant.dsts for grant in rule.cap_grants] == [(ip_network("10.0.0.0/8"),), (ip_network("100.64.0.9/32"),)]
    [mine] = policy.filter_rules(3)
    assert mine.cap_grants[0].dsts == (ip_network("100.64.0.3/32"),)


def test_ok__relay_companion_toward_everybody():
    policy = compiled('"grants": [{"src": ["tag:r"], "dst": ["*"], "app": {"tailscale.com/cap/relay": [{}]}}]')
    own, companion = policy.filter_rules(9)
    assert own.cap_grants[0].cap_map == {"tailscale.com/cap/relay": ({},)}
    assert companion.src_ips == (*WILDCARD, "10.0.0.0/24")
    assert companion.cap_grants[0].cap_map == {"tailscale.com/cap/relay-target": ()}


def test_ok__several_protocols_are_rules_of_their_own():
    policy = compiled(
        '"grants": [{"src": ["b@"], "dst": ["tag:r"], "ip": ["tcp:443", "udp:53", "icmp:*", "8000-8010"]}]'
    )
    assert [rule.ip_protos for rule in policy.filter_rules(9)] == [(6,), (17,), (1,), ()]
    assert policy.filter_rules(9)[3].dst_ports[0] == PortRange("100.64.0.9", 8000, 8010)


POSTURES = '"postures": {"posture:new": ["node:os == \'linux\'", "node:tsVersion >= \'1.60\'"]}'


def test_ok__postures_filter_source_nodes():
    new = Box(1, 1, attributes={"node:os": "linux", "node:tsVersion": "1.70.2"})
    old = Box(2, 1, attributes={"node:os": "linux", "node:tsVersion": "1.9.9"})
    grant = '{"src": ["a@", "*"], "dst": ["tag:r"], "ip": ["*"], "srcPosture": ["posture:new"]}'
    policy = compiled(f'{POSTURES}, "grants": [{grant}]', [new, old, *MESH[2:]])
    assert policy.filter_rules(9)[0].src_ips == N1
    assert peers(policy) == {1: {9}, 2: set(), 3: set(), 9: {1}}
    delta = policy.put_node(Box(2, 1, attributes=new.attributes))
    assert 9 in delta.refiltered
    assert 9 in delta.viewers
    assert policy.filter_rules(9)[0].src_ips == ("100.64.0.1-100.64.0.2", "fd7a:115c:a1e0::1-fd7a:115c:a1e0::2")


def test_ok__a_default_posture_holds_for_rules_without_one():
    policy = compiled(
        f'{POSTURES}, "defaultSrcPosture": ["posture:new"],'
        f' "acls": [{{"action": "accept", "src": ["*"], "dst": ["*:*"]}}]'
    )
    assert policy.filter_rules(9) == ()
    assert peers(policy)[9] == set()


def test_ok__ipsets_add_remove_and_nest():
    policy = compiled(
        '"hosts": {"nas": "10.0.0.7"}, "ipsets": {"ipset:lan": ["10.0.0.0/29", "remove nas", "add 100.64.0.1"],'
        ' "ipset:all": ["ipset:lan", "fd00::1-fd00::2"]},'
        ' "grants": [{"src": ["ipset:all"], "dst": ["tag:r"], "ip": ["*"]},'
        ' {"src": ["b@"], "dst": ["ipset:all"], "ip": ["22"]}]'
    )
    first, second = policy.filter_rules(9)
    assert first.src_ips == ("10.0.0.0-10.0.0.6", "100.64.0.1", "fd00::1-fd00::2")
    assert [port.ip for port in second.dst_ports] == ["10.0.0.0/30", "10.0.0.4/31", "10.0.0.6"]
    assert peers(policy)[3] == {1, 9}


def test_ok__services_are_reached_on_their_addresses():
    host = Box(8, None, ("tag:s",), services=("svc:web",))
    address = ip_address("100.99.0.1")
    policy = compiled(
        '"grants": [{"src": ["b@"], "dst": ["svc:web"], "ip": ["443"]}]',
        [*MESH, host],
        services={"svc:web": (address,)},
    )
    assert policy.filter_rules(8) == (FilterRule(N3, (PortRange("100.99.0.1", 443, 443),)),)
    assert policy.visible_peers(3) == {8}


@pytest.mark.parametrize(
    "selector", ["user:*@example.com", "autogroup:member", "autogroup:tagged", "autogroup:admin", "a@example.com"]
)
def test_ok__selectors_of_nodes(selector):
    found = {
        "user:*@example.com": {1, 2}, "autogroup:member": {1, 2, 3}, "autogroup:tagged": {9},
        "autogroup:admin": {3}, "a@example.com": {1, 2},
    }[selector]  # fmt: skip
    policy = compiled(
        f'"grants": [{{"src": ["{selector}"], "dst": ["192.168.0.1"], "ip": ["*"]}}]',
        [*MESH, Box(8, None, ("tag:s",), (ip_network("192.168.0.0/24"),))],
    )
    assert policy.visible_peers(8) == found | ({8} & found)


def test_fail__ipsets_inside_each_other_are_bounded():
    doubled = {f"ipset:s{number}": [f"ipset:s{number + 1}"] * 2 for number in range(20)} | {"ipset:s20": ["10.0.0.7"]}
    policy = compiled(
        f'"ipsets": {json.dumps(doubled)}, "grants": [{{"src": ["b@"], "dst": ["ipset:s0"], "ip": ["*"]}}]'
    )
    assert policy.filter_rules(9)[0].dst_ports == (PortRange("10.0.0.7"),)
    deep = {f"ipset:s{number}": [f"ipset:s{number + 1}"] for number in range(3000)} | {"ipset:s3000": ["10.0.0.7"]}
    with pytest.raises(PolicyError, match="nested deeper than 32 sets"):
        compiled(f'"ipsets": {json.dumps(deep)}, "grants": []')


def test_fail__a_long_assertion_is_refused_at_once():
    with pytest.raises(PolicyError, match="not an assertion"):
        compiled(f'"postures": {{"posture:x": ["node:os == {" " * 200000}x"]}}, "grants": []')
