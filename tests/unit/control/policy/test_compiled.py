"""Compiled policies: the vectors of policy-and-management spec 2.9 as far as acls go, and more."""

from __future__ import annotations

from ipaddress import ip_network

from appliance.types.netmap import FilterRule, PortRange
from control.policy.compiled import ALLOW_ALL_RULE, CompiledPolicy
from control.policy.document import parse_policy
from control.policy.facts import auto_approved, owns_tag
from control.policy.ranges import INTERNET, WILDCARD, render
from tests.unit.control.policy.mesh import ALL4, LAN, MESH, PEOPLE, TAGS, Box


def _compile(acls: str, nodes=MESH) -> CompiledPolicy:
    return CompiledPolicy(parse_policy(f'{{{TAGS}, "acls": [{acls}]}}'), PEOPLE, nodes)


def _acl(src: str, dst: str, more: str = "") -> str:
    return f'{{"action": "accept", "src": [{src}], "dst": [{dst}]{more}}}'


def test_ok__no_policy_allows_all():
    policy = CompiledPolicy(parse_policy(""), PEOPLE, MESH)
    assert policy.filter_rules(1) == (ALLOW_ALL_RULE,)
    assert policy.visible_peers(1) == {2, 3, 9}
    assert policy.may_use(1, 9, LAN)


def test_ok__empty_acls_hide_everybody():
    policy = _compile("")
    assert policy.filter_rules(1) == ()
    assert policy.visible_peers(1) == frozenset()


def test_ok__vector_route_and_self():
    policy = _compile(
        _acl('"a@"', '"10.0.0.0/24:443"', ', "proto": "tcp"') + "," + _acl('"autogroup:member"', '"autogroup:self:*"')
    )
    both = ("100.64.0.1-100.64.0.2", "fd7a:115c:a1e0::1-fd7a:115c:a1e0::2")
    assert policy.filter_rules(9) == (FilterRule(both, (PortRange("10.0.0.0/24", 443, 443),), (6,)),)
    assert policy.filter_rules(1) == (FilterRule(both, (PortRange("100.64.0.1"), PortRange("fd7a:115c:a1e0::1"))),)
    own = ("100.64.0.3", "fd7a:115c:a1e0::3")
    assert policy.filter_rules(3) == (FilterRule(own, tuple(PortRange(text) for text in own)),)
    assert {number: set(policy.visible_peers(number)) for number in (1, 2, 3, 9)} == {
        1: {2, 9},
        2: {1, 9},
        3: set(),
        9: {1, 2},
    }


def test_ok__vector_wildcard_source():
    policy = _compile(_acl('"*", "b@"', '"tag:r:22,80-81"'))
    [rule] = policy.filter_rules(9)
    assert rule.src_ips == (*WILDCARD, "10.0.0.0/24", "100.64.0.3", "fd7a:115c:a1e0::3")
    assert [(port.ip, port.first, port.last) for port in rule.dst_ports] == [
        ("100.64.0.9", 22, 22),
        ("100.64.0.9", 80, 81),
        ("fd7a:115c:a1e0::9", 22, 22),
        ("fd7a:115c:a1e0::9", 80, 81),
    ]
    assert policy.filter_rules(1) == ()
    assert policy.visible_peers(9) == {1, 2, 3}
    assert policy.visible_peers(1) == {9}


def test_ok__a_denied_peer_is_not_seen_in_either_direction():
    policy = _compile(_acl('"a@"', '"tag:r:*"'))
    assert not policy.are_peers(3, 9)
    assert not policy.are_peers(9, 3)
    assert policy.are_peers(9, 1)
    assert not policy.may_use(1, 9, LAN)


def test_ok__exit_nodes_need_a_destination_that_covers_the_internet():
    exit_box = Box(8, None, ("tag:s",), (), (ALL4, ip_network("::/0")))
    narrow = _compile(_acl('"a@"', '"tag:s:*"'), [*MESH, exit_box])
    assert not narrow.may_use(1, 8, ALL4)
    wide = _compile(_acl('"b@"', '"autogroup:internet:*"'), [*MESH, exit_box])
    assert wide.may_use(3, 8, ALL4)
    assert not wide.may_use(1, 8, ALL4)
    assert wide.visible_peers(8) == {3}
    [rule] = wide.filter_rules(8)
    assert len(rule.dst_ports) == len(INTERNET)
    assert wide.filter_rules(9) == ()


def test_ok__site_to_site_by_networks():
    other = Box(7, None, ("tag:s",), (ip_network("10.0.1.0/24"),))
    policy = _compile(_acl('"10.0.0.0/24"', '"10.0.1.0/24:*"'), [*MESH, other])
    assert policy.visible_peers(9) == {7}
    assert policy.may_use(9, 7, ip_network("10.0.1.0/24"))
    assert policy.may_use(7, 9, LAN)
    assert policy.filter_rules(7) == (FilterRule(("10.0.0.0/24",), (PortRange("10.0.1.0/24"),)),)
    assert policy.filter_rules(9) == ()


def test_ok__one_change_names_what_it_touches():
    policy = _compile(_acl('"tag:s"', '"tag:r:*"'))
    delta = policy.put_node(Box(3, None, ("tag:s",)))
    assert delta.viewers == {3, 9}
    assert delta.refiltered >= {9}
    assert 1 not in delta.refiltered
    gone = policy.remove_node(3)
    assert gone.viewers == {3, 9}
    assert gone.refiltered == {9}
    assert policy.filter_rules(9) == ()


def test_ok__an_unrelated_change_refilters_nobody():
    policy = _compile(_acl('"tag:s"', '"tag:r:*"'))
    delta = policy.put_node(Box(1, 1))
    assert delta.refiltered == frozenset()
    assert delta.viewers == {1}


def test_ok__roles_and_users():
    policy = _compile(_acl('"autogroup:admin"', '"a@:22"'))
    assert policy.visible_peers(3) == {1, 2}
    assert policy.filter_rules(1)[0].src_ips == ("100.64.0.3", "fd7a:115c:a1e0::3")


def test_ok__tag_owners_nest():
    policy = parse_policy('{"tagOwners": {"tag:x": ["tag:y"], "tag:y": ["tag:x", "B@Example.org"], "tag:z": []}}')
    assert owns_tag(policy, PEOPLE[1], "tag:x")
    assert not owns_tag(policy, PEOPLE[0], "tag:x")
    assert not owns_tag(policy, PEOPLE[1], "tag:z")


def test_ok__auto_approvers():
    policy = parse_policy(f'{{{TAGS}, "autoApprovers": {{"routes": {{"10.0.0.0/8": ["tag:r"]}}, "exitNode": ["a@"]}}}}')
    offered = [LAN, ALL4, ip_network("192.168.0.0/24")]
    assert auto_approved(policy, MESH[3], None, offered) == {LAN}
    assert auto_approved(policy, MESH[0], PEOPLE[0], offered) == {ALL4}


def test_ok__render_joins_and_names_exact_prefixes():
    assert render([(0x0A000000, 0x0A0000FF), (0x0A000100, 0x0A0001FF), (1, 1), (5, 7)], []) == (
        "0.0.0.1",
        "0.0.0.5-0.0.0.7",
        "10.0.0.0/23",
    )
