"""Why, and what is missing: every line that is proposed does let the traffic when it is added."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address

import pytest

from control.policy.compiled import CompiledPolicy
from control.policy.document import parse_policy
from control.policy.explain import QuestionError, explain, find_end
from control.policy.meshfile import MeshNode, MeshUser


def node(number, name, user=None, tags=()):
    v4, v6 = IPv4Address(f"100.64.0.{number}"), IPv6Address(f"fd7a:115c:a1e0::{number}")
    return MeshNode(number, name, v4, v6, user, tags)


NODES = [node(1, "laptop", 1), node(2, "phone", 2), node(4, "tablet", 2), node(3, "web", None, ("tag:web",))]
USERS = [MeshUser(1, "ann"), MeshUser(2, "bob")]
OWNERS = '"tagOwners": {"tag:web": []}, "hosts": {"nas": "192.168.1.5"}'


def ask(sections, source, target, port=22, protocol=None):
    text = f"{{{OWNERS},\n{sections}}}"
    policy = CompiledPolicy(parse_policy(text), USERS, NODES)
    names = {one.name: one for one in NODES}
    return explain(policy, find_end(policy, names, source), find_end(policy, names, target), port, protocol)


def test_ok__names_the_rules():
    found = ask('"acls": [\n{"action": "accept", "src": ["ann@"], "dst": ["tag:web:22"]}]', "laptop", "web")
    assert found.allowed
    assert [(place.line, place.column) for place in found.rules] == [(3, 1)]


@pytest.mark.parametrize(
    ("grant", "lacks"),
    [
        ('{"src": ["bob@"], "dst": ["tag:web"], "ip": ["22"]}', "its sources do not hold ann@"),
        ('{"src": ["ann@"], "dst": ["bob@"], "ip": ["22"]}', "its destinations do not hold the target"),
        ('{"src": ["ann@"], "dst": ["tag:web"], "ip": ["23"]}', "its ports do not hold 22"),
        ('{"src": ["ann@"], "dst": ["tag:web"], "ip": ["udp:22"]}', "its protocol is another"),
    ],
)
def test_fail__says_what_a_near_rule_lacks(grant, lacks):
    found = ask(f'"grants": [{grant}]', "laptop", "web", protocol=6)
    assert not found.allowed
    assert [miss.lacks for miss in found.missing] == [lacks]


@pytest.mark.parametrize("section", ["grants", "acls"])
@pytest.mark.parametrize(
    ("source", "target"), [("laptop", "web"), ("phone", "laptop"), ("ann@", "nas"), ("tag:web", "fd00::7")]
)
@pytest.mark.parametrize("protocol", [None, 17])
def test_ok__the_proposed_line_is_enough(section, source, target, protocol):
    found = ask(f'"{section}": []', source, target, protocol=protocol)
    assert not found.allowed
    assert found.section == section
    json.loads(found.line)
    assert ask(f'"{section}": [{found.line}]', source, target, protocol=protocol).allowed


def test_ok__without_rules_everything_is_allowed():
    assert ask('"groups": {}', "laptop", "web").allowed


@pytest.mark.parametrize("name", ["nobody", "carol@", "autogroup:self", "tag:wep"])
def test_fail__nobody(name):
    with pytest.raises(QuestionError):
        ask('"acls": []', name, "web")
