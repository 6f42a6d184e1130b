"""Filter rules to source classes."""

from ipaddress import ip_address, ip_network

import pytest

from appliance.router import destinations as compiler
from appliance.router.compile import FilterCompiler, compile_rules
from appliance.router.destinations import FilterError
from appliance.types.netmap import CapGrant, FilterRule, PortRange


def rule(sources, *destinations, protos=()):
    return FilterRule(tuple(sources), tuple(PortRange(*item) for item in destinations), protos)


def test_ok__sources_with_equal_rights_are_one_class():
    compiled = compile_rules(
        [
            rule(["100.64.0.1", "100.64.0.9"], ("10.0.0.0/8", 80, 80)),
            rule(["100.64.0.2"], ("10.0.0.0/8", 80, 80)),
        ]
    )
    ((destinations, sources),) = compiled.families[0].classes.values()
    assert sources == ((0x64400001, 0x64400002), (0x64400009, 0x64400009))
    assert destinations.icmp == ((0x0A000000, 0x0AFFFFFF),)
    assert destinations.layers == (((6, (0x0A000000, 0x0AFFFFFF), (80, 80)), (17, (0x0A000000, 0x0AFFFFFF), (80, 80))),)


def test_ok__families_do_not_mix():
    compiled = compile_rules([rule(["100.64.0.1", "fd7a:115c:a1e0::1"], ("10.0.0.0/8",))])
    assert len(compiled.families[0].classes) == 1
    assert not compiled.families[1].classes


def test_ok__overlapping_sources_get_the_union():
    compiled = compile_rules([rule(["*"], ("10.0.0.1", 22, 22)), rule(["100.64.0.1"], ("10.0.0.1", 80, 90))])
    by_sources = {sources: destinations for destinations, sources in compiled.families[0].classes.values()}
    one = by_sources[((0x64400001, 0x64400001),)]
    assert [ports for _, _, ports in one.layers[0][:2]] == [(22, 22), (80, 90)]
    assert len(by_sources) == 2


def test_ok__nested_destinations_get_layers_without_overlap():
    compiled = compile_rules(
        [rule(["*"], ("*", 443, 443), ("10.0.0.0/8", 80, 80), ("10.1.0.0/16", 22, 22), protos=(6,))]
    )
    ((destinations, _),) = compiled.families[0].classes.values()
    assert [len(layer) for layer in destinations.layers] == [1, 1, 1]


def test_ok__deep_overlap_is_cut_into_strips(monkeypatch):
    monkeypatch.setattr(compiler, "MAX_DEPTH", 1)
    compiled = compile_rules([rule(["*"], ("10.0.0.0/8", 80, 80), ("10.1.0.0/16", 22, 22), protos=(6,))])
    ((destinations, _),) = compiled.families[0].classes.values()
    (layer,) = destinations.layers
    assert len(layer) == 4


def test_fail__too_large(monkeypatch):
    monkeypatch.setattr(compiler, "MAX_ELEMENTS", 2)
    with pytest.raises(FilterError, match="too large"):
        compile_rules([rule(["*"], ("10.0.0.0/8", 80, 80), ("10.1.0.0/16", 22, 22))])


def test_ok__capability_sources_and_jailed_peers():
    compiled = compile_rules(
        [rule(["cap:drive"], ("10.0.0.1",)), rule(["100.64.0.0/30"], ("10.0.0.2",))],
        {"drive": (ip_address("100.64.0.9"),)},
        [ip_network("100.64.0.1/32")],
    )
    covered = {interval for _, sources in compiled.families[0].classes.values() for interval in sources}
    assert covered == {
        (0x64400009, 0x64400009),
        (0x64400000, 0x64400000),
        (0x64400002, 0x64400003),
    }


def test_ok__bad_entries_drop_themselves_only():
    compiled = compile_rules([rule(["10.0.0.1/8", "100.64.0.1"], ("10.0.0.1", 90, 80), ("10.0.0.2",), ("nonsense",))])
    ((destinations, sources),) = compiled.families[0].classes.values()
    assert sources == ((0x64400001, 0x64400001),)
    assert destinations.icmp == ((0x0A000002, 0x0A000002),)
    assert len(compiled.problems) == 3


def test_ok__portless_protocols_need_all_ports():
    compiled = compile_rules([rule(["*"], ("10.0.0.1",), ("10.0.0.2", 1, 65535), protos=(47, 300, -1))])
    ((destinations, _),) = compiled.families[0].classes.values()
    assert destinations.whole == ((47, (0x0A000001, 0x0A000001)),)
    assert destinations.layers == ()


def test_ok__grants_open_no_packets():
    grant = FilterRule(("*",), (), (), (CapGrant((ip_network("10.0.0.0/8"),), {"x": ()}),))
    assert all(not family.classes for family in compile_rules([grant]).families)


def test_ok__ten_thousand_rules_keep_a_few_lookups():
    rules = [rule([f"100.64.{i // 250}.{i % 250}"], (f"10.{i // 250}.{i % 250}.0/24", 80, 80)) for i in range(2000)]
    assert len(compile_rules(rules).families[0].classes) == 2000


def test_ok__classes_that_change_places():
    """One begins where the other began: by the same compiler as from nothing."""
    web, ssh = ("10.0.0.1", 80, 80), ("10.0.0.2", 22, 22)
    compiler = FilterCompiler()
    compiler.compile([rule(["100.64.0.5"], web), rule(["100.64.0.7"], ssh)])
    swapped = [rule(["100.64.0.7"], web), rule(["100.64.0.5"], ssh)]
    assert compiler.compile(swapped) == compile_rules(swapped)
    assert len(compile_rules(swapped).families[0].classes) == 2
