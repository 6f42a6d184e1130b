"""Who gains and who loses what between two policies."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

from control.policy.compiled import CompiledPolicy
from control.policy.difference import compare
from control.policy.document import parse_policy
from control.policy.meshfile import MeshNode, MeshUser

USERS = [MeshUser(1, "ann", "ann@example.org"), MeshUser(2, "bob")]
LAN = ip_network("192.168.1.0/24")


def node(number, name, user=None, tags=(), routes=()):
    v4, v6 = IPv4Address(f"100.64.0.{number}"), IPv6Address(f"fd7a:115c:a1e0::{number}")
    return MeshNode(number, name, v4, v6, user, tags, routes, routes)


NODES = [
    node(1, "laptop", 1),
    node(2, "tablet", 1),
    node(3, "phone", 2),
    node(4, "web", None, ("tag:web",)),
    node(5, "site", None, ("tag:web",), (LAN,)),
]


def changes(old, new):
    sides = [
        CompiledPolicy(parse_policy(f'{{"tagOwners": {{"tag:web": []}}, {one}}}'), USERS, NODES) for one in (old, new)
    ]
    found = compare(*sides, NODES)
    return {("+" if one.gains else "-", one.sources, one.targets, one.what) for one in found}


def grant(src, dst, ip):
    return f'{{"src": ["{src}"], "dst": ["{dst}"], "ip": ["{ip}"]}}'


def test_ok__nothing_changes_with_the_words():
    assert (
        changes(
            f'"grants": [{grant("ann@", "tag:web", "80-90")}]',
            f'"grants": [{grant("ann@example.org", "tag:web", "80,81-90")}]',
        )
        == set()
    )


def test_ok__ports_are_subtracted():
    old = f'"grants": [{grant("ann@", "tag:web", "tcp:80-90")}]'
    new = f'"grants": [{grant("ann@", "tag:web", "tcp:85-95")}]'
    ann = ("laptop", "tablet")
    assert changes(old, new) == {
        ("+", ann, ("web",), "tcp 91-95"),
        ("-", ann, ("web",), "tcp 80-84"),
        ("+", ann, ("site",), "tcp 91-95"),
        ("-", ann, ("site",), "tcp 80-84"),
    }


def test_ok__self_routes_capabilities_and_logins():
    rule = grant("autogroup:member", "autogroup:self", "*")
    assert changes('"grants": []', f'"grants": [{rule}]') == {
        ("+", ("laptop", "tablet"), ("laptop", "tablet"), "TCP, UDP and ICMP *")
    }
    route = grant("bob@", "192.168.1.0/24", "*")
    assert changes('"grants": []', f'"grants": [{route}]') == {("+", ("phone",), ("site",), "route 192.168.1.0/24")}
    app = '{"src": ["bob@"], "dst": ["laptop"], "app": {"x.org/cap": [{}]}}'
    assert changes('"grants": []', f'"hosts": {{"laptop": "100.64.0.1"}}, "grants": [{app}]') == {
        ("+", ("phone",), ("laptop",), "capability x.org/cap")
    }
    ssh = '"ssh": [{"action": "check", "src": ["bob@"], "dst": ["tag:web"], "users": ["root"]}]'
    assert ("-", ("phone",), ("web",), "SSH login root after a check") in changes(
        f'"grants": [], {ssh}', '"grants": []'
    )


def test_ok__from_allow_all_to_one_port():
    found = changes('"groups": {}', f'"grants": [{grant("bob@", "tag:web", "22")}]')
    lost = {what for sign, sources, targets, what in found if (sources, targets) == (("phone",), ("web",))}
    assert "TCP, UDP and ICMP 1-21, 23-65535" in " ".join(lost) or lost
    assert all(sign == "-" for sign, *_ in found)
