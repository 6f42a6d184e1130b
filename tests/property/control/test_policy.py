"""Random policies and meshes against a naive evaluator; the incremental result against the full one."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.policy.compiled import CompiledPolicy
from control.policy.document import parse_policy
from control.policy.hujson import parse_hujson
from control.policy.problems import PolicyError
from tests.unit.control.policy.mesh import Box, Person

pytestmark = [pytest.mark.timeout(60)]

TAGS = ("tag:a", "tag:b")
ROUTES = (ip_network("10.0.0.0/24"), ip_network("10.0.1.0/24"))


PEOPLE = [Person(1, "ann"), Person(2, "bob")]
sources = st.lists(
    st.sampled_from(
        ["*", "ann@", "bob@", "group:g", *TAGS, "autogroup:member", "autogroup:tagged", "100.64.0.2", "10.0.0.0/23"]
    ),
    max_size=3,
)
destinations = st.lists(
    st.sampled_from(["*", "ann@", "group:g", *TAGS, "autogroup:member", "100.64.0.3", "10.0.0.0/24", "10.0.1.7"]),
    max_size=3,
)
ports = st.sampled_from(["*", "22", "80,443", "8000-8010"])


@st.composite
def policies(draw):
    rules = []
    for _ in range(draw(st.integers(0, 4))):
        src, dst = draw(sources), [f"{name}:{draw(ports)}" for name in draw(destinations)]
        if draw(st.booleans()) and set(src) <= {"*", "ann@", "bob@", "group:g", "autogroup:member"}:
            dst.append("autogroup:self:*")
        rules.append({"action": "accept", "src": src, "dst": dst})
    document = {"groups": {"group:g": ["bob@"]}, "tagOwners": {tag: [] for tag in TAGS}, "acls": rules}
    return json.dumps(document)


@st.composite
def boxes(draw, number=None):
    tags = tuple(draw(st.lists(st.sampled_from(TAGS), unique=True, max_size=2)))
    owner = None if tags else draw(st.sampled_from([1, 2]))
    routes = tuple(draw(st.lists(st.sampled_from(ROUTES), unique=True, max_size=2)))
    exits = (ip_network("0.0.0.0/0"),) if draw(st.booleans()) and draw(st.booleans()) else ()
    return Box(draw(st.integers(1, 6)) if number is None else number, owner, tags, routes, exits)


def _source_holds(rule, address) -> bool:
    for text in rule.src_ips:
        first, dash, last = text.partition("-")
        if dash:
            if address.version == ip_address(first).version and ip_address(first) <= address <= ip_address(last):
                return True
        elif text == "*" or (address.version == ip_network(text).version and address in ip_network(text)):
            return True
    return False


def _allows(policy: CompiledPolicy, src, dst_node: int, dst, port: int) -> bool:
    return any(
        _source_holds(rule, src)
        and any(
            (entry.ip == "*" or dst in ip_network(entry.ip)) and entry.first <= port <= entry.last
            for entry in rule.dst_ports
            if entry.ip == "*" or ip_network(entry.ip).version == dst.version
        )
        for rule in policy.filter_rules(dst_node)
    )


def _naive_allows(document, one: Box, other: Box, port: int) -> bool:
    """From node `one` to node `other`, both by their IPv4 address, straight from the words of the rules."""

    def means(name: str, box: Box) -> bool:
        owner = None if box.tags else {1: "ann", 2: "bob"}[box.user_id]
        if name in ("*", "autogroup:member", "autogroup:tagged"):
            return {"*": True, "autogroup:member": not box.tags, "autogroup:tagged": bool(box.tags)}[name]
        if name == "group:g":
            return owner == "bob"
        if name.endswith("@"):
            return owner == name[:-1]
        return name in box.tags if name.startswith("tag:") else box.ipv4 in ip_network(name)

    def open_port(text: str) -> bool:
        spans = [part.partition("-") for part in text.split(",")]
        return text == "*" or any(int(low) <= port <= int(high or low) for low, _, high in spans)

    def hits(rule, entry: str) -> bool:
        name, _, port_text = entry.rpartition(":")
        if not open_port(port_text):
            return False
        if name == "autogroup:self":
            return not one.tags and not other.tags and one.user_id == other.user_id
        return means(name, other)

    return any(
        any(means(name, one) for name in rule["src"]) and any(hits(rule, entry) for entry in rule["dst"])
        for rule in document["acls"]
    )


@settings(max_examples=150, deadline=None)
@given(policies(), st.lists(boxes(), min_size=2, max_size=5, unique_by=lambda box: box.id))
def test_ok__filters_and_visibility_match_the_words(text, mesh):
    policy, document = CompiledPolicy(parse_policy(text), PEOPLE, mesh), json.loads(text)
    for one in mesh:
        for other in mesh:
            if one == other:
                continue
            reached = False
            for port in (22, 443, 8005, 9999):
                expected = _naive_allows(document, one, other, port)
                assert _allows(policy, one.ipv4, other.id, other.ipv4, port) == expected
                assert _allows(policy, one.ipv6, other.id, other.ipv6, port) == expected or "100.64" in text
                reached |= expected
            if reached:
                assert other.id in policy.visible_peers(one.id)
                assert one.id in policy.visible_peers(other.id)
            assert (other.id in policy.visible_peers(one.id)) == policy.are_peers(one.id, other.id)


@settings(max_examples=150, deadline=None)
@given(policies(), st.lists(st.tuples(st.booleans(), boxes()), min_size=1, max_size=8))
def test_ok__incremental_equals_full_and_deltas_miss_nothing(text, steps):
    document = parse_policy(text)
    policy, mesh = CompiledPolicy(document, PEOPLE, []), {}
    for put, box in steps:
        before = {number: (policy.filter_rules(number), policy.visible_peers(number)) for number in mesh}
        if put:
            mesh[box.id] = box
            delta = policy.put_node(box)
        else:
            mesh.pop(box.id, None)
            delta = policy.remove_node(box.id)
        full = CompiledPolicy(document, PEOPLE, mesh.values())
        for number in mesh:
            assert _same(policy.filter_rules(number), full.filter_rules(number))
            assert policy.visible_peers(number) == full.visible_peers(number)
            if number in before and number != box.id:
                if not _same(before[number][0], policy.filter_rules(number)):
                    assert number in delta.refiltered
                if before[number][1] != policy.visible_peers(number):
                    assert number in delta.viewers


def _same(one, other) -> bool:
    return list(one) == list(other)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='{}[]",:/*\\ntrue01-. \ud800é', max_size=60) | st.binary(max_size=60))
def test_ok__any_text_is_read_or_refused_with_a_place(text):
    problems = ()
    try:
        parse_policy(text)
    except PolicyError as error:
        problems = error.problems
    assert all(problem.place.line >= 1 and problem.place.column >= 1 for problem in problems)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(plain)
def test_ok__json_is_hujson_and_cut_short_it_is_refused(value):
    text = json.dumps(value, ensure_ascii=False)
    assert _back(parse_hujson(text)) == value
    if isinstance(value, (list, dict)):
        for end in range(1, len(text)):
            try:
                parse_hujson(text[:end])
            except PolicyError:
                continue
            raise AssertionError(text[:end])


def _back(value):
    if value.is_object:
        return {member.name: _back(member.value) for member in value.data}
    return [_back(item) for item in value.data] if isinstance(value.data, tuple) else value.data
