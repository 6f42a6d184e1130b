"""Why, and what is missing: every line that is proposed does let the traffic when it is added."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest

from control.policy.checks import run_tests
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


VIA = '"grants": [{"src": ["ann@"], "dst": ["192.168.0.0/16"], "ip": ["22"], "via": ["tag:gw"]}]'


def _through(monkeypatch, route: str, sections: str = VIA, tag: str = "tag:gw"):
    """A question to a mesh with one more node, a router."""
    networks = (ip_network(route),)
    router = replace(node(9, "gw", None, (tag,)), advertised_routes=networks, approved_routes=networks)
    monkeypatch.setattr(sys.modules[__name__], "NODES", [*NODES, router])
    monkeypatch.setattr(sys.modules[__name__], "OWNERS", OWNERS.replace(": []}", ': [], "tag:gw": [], "tag:x": []}'))
    return ask(sections, "laptop", "nas")


def test_ok__through_a_router_that_carries_it(monkeypatch):
    found = _through(monkeypatch, "192.168.1.0/24")
    assert found.allowed
    assert found.via == (9,)


@pytest.mark.parametrize(("route", "tag"), [("192.168.2.0/24", "tag:gw"), ("192.168.1.0/24", "tag:x")])
def test_fail__no_router_carries_it(monkeypatch, route, tag):
    found = _through(monkeypatch, route, tag=tag)
    assert not found.allowed
    assert [miss.lacks for miss in found.missing] == ["no router with tag:gw serves a route to the target"]


def test_ok__an_exit_node_leads_to_the_internet_only(monkeypatch):
    sections = '"grants": [{"src": ["ann@"], "dst": ["autogroup:internet"], "ip": ["22"], "via": ["tag:gw"]}]'
    assert not _through(monkeypatch, "0.0.0.0/0", sections).allowed
    assert ask(sections, "laptop", "8.8.8.8").via == (9,)


@pytest.mark.parametrize(("route", "failures"), [("192.168.1.0/24", 0), ("192.168.2.0/24", 1)])
def test_ok__tests_of_the_policy_know_routers(monkeypatch, route, failures):
    _through(monkeypatch, route)
    text = f'{{{OWNERS}, {VIA}, "tests": [{{"src": "ann@", "accept": ["nas:22"]}}]}}'
    assert len(run_tests(CompiledPolicy(parse_policy(text), USERS, NODES))) == failures
