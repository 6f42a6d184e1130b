"""Random grants, postures, SSH rules and meshes against a naive evaluator; changes one by one against a new compile."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from control.policy.compiled import CompiledPolicy
from control.policy.document import parse_policy
from tests.unit.control.policy.mesh import Box, Person

pytestmark = [pytest.mark.timeout(60)]

TAGS = ("tag:a", "tag:b")
ROUTES = (ip_network("10.0.0.0/24"), ip_network("10.0.1.0/24"))
PEOPLE = [Person(1, "ann", "ann@one.example", "admin"), Person(2, "bob", "bob@two.example")]
NAMES = {1: "ann", 2: "bob"}
NETWORKS = {"100.64.0.2": ["100.64.0.2/32"], "10.0.0.0/23": ["10.0.0.0/23"], "10.0.1.7": ["10.0.1.7/32"]} | {
    "ipset:s": ["100.64.0.3/32", "10.0.1.0/25"],
    "host": ["100.64.0.4/32"],
}
PEOPLE_NAMES = ["ann@", "bob@", "group:g", "user:*@two.example", "autogroup:member", "autogroup:admin"]
NODE_NAMES = [*PEOPLE_NAMES, *TAGS, "autogroup:tagged", "*", *NETWORKS]
IP = ["*", "22", "tcp:80,443", "udp:53", "icmp:*", "8000-8010", "sctp:22"]
PROTOCOLS = {"": {6, 17, 1, 58}, "tcp": {6}, "udp": {17}, "icmp": {1}, "sctp": {132}}
HEAD = {
    "groups": {"group:g": ["bob@"]},
    "hosts": {"host": "100.64.0.4"},
    "ipsets": {"ipset:s": ["100.64.0.3", "10.0.1.0/24", "remove 10.0.1.128/25"]},
    "tagOwners": {tag: [] for tag in TAGS},
    "postures": {"posture:linux": ["node:os == 'linux'"], "posture:new": ["node:tsVersion >= '1.10'"]},
}


@st.composite
def grants(draw):
    to_self = draw(st.booleans()) and draw(st.booleans())
    names = PEOPLE_NAMES if to_self else NODE_NAMES
    found = {"src": draw(st.lists(st.sampled_from(names), min_size=1, max_size=3))}
    found["dst"] = (
        ["autogroup:self"] if to_self else draw(st.lists(st.sampled_from(NODE_NAMES), min_size=1, max_size=3))
    )
    found["ip"] = draw(st.lists(st.sampled_from(IP), min_size=1, max_size=2))
    if draw(st.booleans()):
        found["app"] = {draw(st.sampled_from(["x.org/cap/one", "tailscale.com/cap/drive"])): [{}]}
    if draw(st.integers(0, 3)) == 0:
        found["srcPosture"] = draw(st.sampled_from([["posture:linux"], ["posture:linux", "posture:new"]]))
    return found


@st.composite
def ssh_rules(draw):
    dst = draw(st.sampled_from([["tag:a"], ["tag:b", "autogroup:tagged"], ["autogroup:self"]]))
    src = draw(st.lists(st.sampled_from(PEOPLE_NAMES), min_size=1, max_size=2))
    users = draw(st.sampled_from([["root"], ["autogroup:nonroot", "x"], ["localpart:*@two.example"]]))
    return {"action": draw(st.sampled_from(["accept", "check"])), "src": src, "dst": dst, "users": users}


@st.composite
def boxes(draw):
    tags = tuple(draw(st.lists(st.sampled_from(TAGS), unique=True, max_size=2)))
    routes = tuple(draw(st.lists(st.sampled_from(ROUTES), unique=True, max_size=1)))
    attributes = draw(
        st.sampled_from([{}, {"node:os": "linux"}, {"node:tsVersion": "1.9"}, {"node:tsVersion": "1.80"}])
    )
    owner = None if tags else draw(st.sampled_from([1, 2]))
    return Box(draw(st.integers(1, 6)), owner, tags, routes, (), (), attributes)


def _means(name, box):
    """Whether a node's own addresses are among what the word means."""
    owner = None if box.tags else NAMES[box.user_id]
    if name in NETWORKS:
        return any(box.ipv4 in ip_network(text) for text in NETWORKS[name])
    words = {
        "*": True,
        "autogroup:member": owner is not None,
        "autogroup:tagged": bool(box.tags),
        "ann@": owner == "ann",
    }
    bobs = dict.fromkeys(("bob@", "group:g", "user:*@two.example"), owner == "bob")
    return ({**words, **bobs, "autogroup:admin": owner == "ann"}).get(name, name in box.tags)


def _behind(name, box):
    """Whether a network behind the node is."""
    if name == "*":
        return bool(box.subnet_routes)
    return any(ip_network(text).overlaps(route) for text in NETWORKS.get(name, ()) for route in box.subnet_routes)


def _passes(grant, box):
    names = grant.get("srcPosture")
    linux = box.attributes.get("node:os") == "linux"
    new = box.attributes.get("node:tsVersion") == "1.80"
    return names is None or ("posture:linux" in names and linux) or ("posture:new" in names and new)


def _is_source(grant, box):
    return _passes(grant, box) and any(_means(name, box) for name in grant["src"])


def _self(one, other):
    return not one.tags and not other.tags and one.user_id == other.user_id


def _open(item, protocol, port):
    word, _, ports = item.rpartition(":")
    spans = [part.partition("-") for part in ports.split(",")]
    fits = ports == "*" or any(int(low) <= port <= int(high or low) for low, _, high in spans)
    return protocol in PROTOCOLS[word] and fits


def _naive_allows(grants_, one, other, protocol, port):
    return any(
        _is_source(grant, one)
        and any(_open(item, protocol, port) for item in grant["ip"])
        and any(_self(one, other) if name == "autogroup:self" else _means(name, other) for name in grant["dst"])
        for grant in grants_
    )


def _naive_reaches(grant, one, other):
    if grant["dst"] == ["autogroup:self"]:
        return _is_source(grant, one) and _self(one, other)
    routed = "srcPosture" not in grant and any(_behind(name, one) for name in grant["src"])
    to = any(_means(name, other) or _behind(name, other) for name in grant["dst"])
    return (_is_source(grant, one) or routed) and to


def _holds(texts, address):
    for text in texts:
        first, dash, last = text.partition("-")
        if dash and ip_address(first).version == address.version:
            if ip_address(first) <= address <= ip_address(last):
                return True
        elif not dash and (text == "*" or address in ip_network(text)):
            return True
    return False


def _filter_allows(rules, source, target, protocol, port):
    return any(
        _holds(one.src_ips, source)
        and protocol in (one.ip_protos or (6, 17, 1, 58))
        and any(_holds((entry.ip,), target) and entry.first <= port <= entry.last for entry in one.dst_ports)
        for one in rules
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(grants(), max_size=4), st.lists(boxes(), min_size=2, max_size=4, unique_by=lambda box: box.id))
def test_ok__every_pair_protocol_and_port_matches_the_words(found, mesh):
    policy = CompiledPolicy(parse_policy(json.dumps({**HEAD, "grants": found})), PEOPLE, mesh)
    rules = {box.id: policy.filter_rules(box.id) for box in mesh}
    for one in mesh:
        for other in (box for box in mesh if box is not one):
            for protocol in (6, 17, 1, 132, 47):
                for port in (22, 53, 443, 8005, 9999):
                    expected = _naive_allows(found, one, other, protocol, port)
                    assert _filter_allows(rules[other.id], one.ipv4, other.ipv4, protocol, port) == expected
            seen = any(_naive_reaches(one_, *pair) for one_ in found for pair in ((one, other), (other, one)))
            assert (other.id in policy.visible_peers(one.id)) == seen


class Changes(RuleBasedStateMachine):
    """Nodes come, change and go; after each step everything equals a new compile, and no change went untold."""

    @initialize(found=st.lists(grants(), max_size=3), ssh=st.lists(ssh_rules(), max_size=2))
    def start(self, found, ssh):
        attrs = [{"target": ["tag:a", "ann@"], "attr": ["x"]}]
        via = [{"src": ["ann@"], "dst": ["10.0.0.0/23"], "ip": ["*"], "via": ["tag:a"]}]
        text = json.dumps({**HEAD, "grants": found + via, "ssh": ssh, "nodeAttrs": attrs})
        self.document = parse_policy(text)
        self.policy = CompiledPolicy(self.document, PEOPLE, [])
        self.mesh = {}

    def _told(self, number):
        policy = self.policy
        return policy.filter_rules(number), policy.visible_peers(number), policy.ssh_policy(number)

    def _change(self, number, apply):
        before = {one: self._told(one) for one in self.mesh if one != number}
        delta = apply()
        for one, (rules, peers, ssh) in before.items():
            now = self._told(one)
            assert rules == now[0] or one in delta.refiltered
            assert peers == now[1] or one in delta.viewers
            assert ssh == now[2] or one in delta.ssh

    @rule(box=boxes())
    def put(self, box):
        self._change(box.id, lambda: self.policy.put_node(box))
        self.mesh[box.id] = box

    @rule(number=st.integers(1, 6))
    def remove(self, number):
        self.mesh.pop(number, None)
        self._change(number, lambda: self.policy.remove_node(number))

    @invariant()
    def equals_a_new_compile(self):
        if not hasattr(self, "policy"):
            return
        full = CompiledPolicy(self.document, PEOPLE, self.mesh.values())
        for number in self.mesh:
            assert self._told(number) == (
                full.filter_rules(number),
                full.visible_peers(number),
                full.ssh_policy(number),
            )
            assert self.policy.node_attributes(number) == full.node_attributes(number)
            for other in self.mesh:
                assert self.policy.steered(number, other) == full.steered(number, other)


Changes.TestCase.settings = settings(max_examples=20, stateful_step_count=8, deadline=None)
TestChanges = Changes.TestCase
