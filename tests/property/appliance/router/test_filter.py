"""The compiled filter decides as the rules do, for random rules and packets (node-os spec 1.4)."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.router.compile import FilterCompiler, compile_rules
from appliance.router.destinations import ICMP, PORT_PROTOCOLS
from appliance.router.explain import Packet, explain
from appliance.router.model import RouterModel
from appliance.router.ranges import covers, intersect, lost, merge, replaced, subtract
from appliance.router.ruleset import TableRenderer, render_table
from appliance.types.netmap import FilterRule, PortRange

ADDRESSES = [f"10.0.0.{i}" for i in range(16)] + [f"fd00::{i:x}" for i in range(16)]
texts = st.one_of(
    st.sampled_from(["*", "10.0.0.0/29", "10.0.0.8/30", "10.0.0.3-10.0.0.9", "fd00::/124", "fd00::2-fd00::5", "cap:a"]),
    st.sampled_from(ADDRESSES),
)
ports = st.tuples(st.integers(0, 6), st.integers(0, 6)).map(sorted) | st.just([0, 65535])
protocols = st.lists(st.sampled_from([1, 6, 17, 47, 58, 132]), max_size=3).map(tuple)
destinations = st.builds(lambda ip, pair: PortRange(ip, *pair), texts.filter(lambda text: text != "cap:a"), ports)
rules = st.builds(
    FilterRule,
    st.lists(texts, min_size=1, max_size=3).map(tuple),
    st.lists(destinations, min_size=1, max_size=3).map(tuple),
    protocols,
)
packets = st.builds(
    Packet,
    st.sampled_from(ADDRESSES).map(ip_address),
    st.sampled_from(ADDRESSES).map(ip_address),
    st.sampled_from([1, 6, 17, 47, 58, 132]),
    st.integers(0, 6),
)
CAPS = {"a": (ip_address("10.0.0.4"), ip_address("fd00::4"))}
JAILED = (ip_network("10.0.0.12/32"),)


def lookup(compiled, packet: Packet) -> bool:
    """What a kernel does with the compiled form: class of the source, then its sets."""
    family = compiled.families[0 if packet.source.version == 4 else 1]
    value = int(packet.destination)
    found = [item for item, sources in family.classes.values() if covers(sources, int(packet.source))]
    assert len(found) <= 1, "a source belongs to one class"
    for item in found:
        if packet.protocol == ICMP[family.version] and covers(item.icmp, value):
            return True
        for layer in item.layers:
            hits = [
                proto == packet.protocol and first <= value <= last and low <= packet.port <= high
                for proto, (first, last), (low, high) in layer
            ]
            assert sum(hits) <= 1, "elements of a layer never overlap"
            if any(hits) and packet.protocol in PORT_PROTOCOLS:
                return True
        if any(proto == packet.protocol and first <= value <= last for proto, (first, last) in item.whole):
            return True
    return False


@settings(max_examples=150, deadline=None)
@given(st.lists(rules, max_size=6), st.lists(packets, min_size=1, max_size=25))
def test_ok__compiled_equals_rules(rule_list, packet_list):
    local = (ip_network("10.0.0.0/24"), ip_network("fd00::/64"))
    model = RouterModel(advertised=local, rules=tuple(rule_list), cap_sources=CAPS, jailed=JAILED)
    compiled = compile_rules(model.rules, CAPS, JAILED)
    for packet in packet_list:
        if packet.source.version == packet.destination.version:
            assert lookup(compiled, packet) == explain(model, packet).accepted, packet


def plain(table):
    """Sets and rules by name; the order of a set's elements means nothing."""
    sets = {item.name: (item.definition, dict(item.elements)) for item in table.sets}
    return sets, {chain.name: (chain.hook, chain.rules) for chain in table.chains}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.lists(rules, max_size=6), st.booleans(), st.booleans()), min_size=2, max_size=5))
def test_ok__one_after_the_other_equals_each_from_nothing(steps):
    compiler, renderer, made = FilterCompiler(), TableRenderer(), []
    for rule_list, jailed, capable in steps:
        shut, caps = JAILED if jailed else (), CAPS if capable else {}
        model = RouterModel(rules=tuple(rule_list), cap_sources=caps, jailed=shut)
        compiled, fresh = compiler.compile(model.rules, caps, shut), compile_rules(model.rules, caps, shut)
        assert compiled == fresh
        table = renderer.render(model, compiled)
        assert plain(table) == plain(render_table(model, fresh))
        made.append((table, plain(table)))
    assert all(plain(table) == then for table, then in made), "a former table stays as it was"


@settings(max_examples=40, deadline=None)
@given(st.lists(rules, max_size=8), st.lists(st.integers(0, 7), max_size=6))
def test_ok__rules_that_come_and_go(rule_list, toggles):
    compiler, held = FilterCompiler(), list(rule_list)
    compiler.compile(held)
    for place in toggles:
        held = [rule for number, rule in enumerate(held) if number != place % max(len(held), 1)]
        assert compiler.compile(held) == compile_rules(held)
        held = [*held, *rule_list[place : place + 1]]
        assert compiler.compile(held) == compile_rules(held)


small = st.tuples(st.integers(0, 40), st.integers(0, 8)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@settings(max_examples=200, deadline=None)
@given(st.lists(small, max_size=8), st.lists(small, max_size=8))
def test_ok__range_arithmetic_is_that_of_sets(one, other):
    def members(intervals):
        return {value for first, last in intervals for value in range(first, last + 1)}

    assert members(merge(one)) == members(one)
    left = subtract(one, other)
    assert members(left) == members(one) - members(other)
    assert left == merge(left)
    assert lost(merge(one), merge(other)) == left
    both = intersect(merge(one), merge(other))
    assert members(both) == members(one) & members(other)
    assert both == sorted(both)


@settings(max_examples=300, deadline=None)
@given(st.lists(small, max_size=30), st.lists(small, max_size=2), st.lists(small, max_size=8))
def test_ok__what_lies_in_windows_is_given_anew(intervals, windows, within):
    held, around = merge((first * 5, last * 5) for first, last in intervals), merge(windows)
    given_anew = intersect(merge(within), around)
    assert list(replaced(held, around, given_anew)) == merge((*subtract(held, around), *given_anew))
