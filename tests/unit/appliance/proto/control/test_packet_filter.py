"""The packet filter of map responses, one after the other."""

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.proto.control import messages as wire
from appliance.proto.control.packet_filter import PacketFilterReader


def read(*rules: wire.FilterRule):
    return PacketFilterReader().read(rules)


def rule(**fields: object) -> wire.FilterRule:
    anything = [wire.NetPortRange(ip="*", ports=wire.PortRange(first=0, last=65535))]
    return wire.FilterRule(**{"src_ips": ["*"], "dst_ports": anything, **fields})  # type: ignore[arg-type]


def test_ok__filter_entries_drop_alone() -> None:
    ports = wire.PortRange(first=22, last=22)
    destinations = [
        wire.NetPortRange(ip=ip, ports=ports) for ip in ("10.0.0.0/8", "10.0.0.1/8", "1.1.1.1-1.1.1.9", "b-a")
    ]
    sources = ["100.64.0.1", "cap:x", "cap:", "9.9.9.9-1.1.1.1", "::1-1.1.1.1", "?"]
    (found,) = read(rule(src_ips=sources, dst_ports=destinations, ip_proto=[6, 300]))
    assert found.src_ips == ("100.64.0.1", "cap:x")
    assert [target.ip for target in found.dst_ports] == ["10.0.0.0/8", "1.1.1.1-1.1.1.9"]
    assert found.ip_protos == (6,)


@pytest.mark.parametrize("fields", [{"src_ips": ["?"]}, {"ip_proto": [300]}, {"dst_ports": []}])
def test_fail__rules_that_match_nothing_go(fields: dict) -> None:
    assert read(rule(**fields)) == ()


def test_fail__bits_void_the_whole_set() -> None:
    assert read(rule(), rule(src_bits=[8])) == ()
    assert read(rule(), rule(dst_ports=[wire.NetPortRange(ip="1.1.1.1", bits=8)])) == ()


def test_ok__cap_grants_with_old_names() -> None:
    grant = wire.CapGrant(dsts=["100.64.0.1/32"], caps=["old"], cap_map={"new": [{"a": 1}]})
    (found,) = read(wire.FilterRule(src_ips=["*"], cap_grant=[grant]))
    assert found.cap_grants[0].dsts == (IPv4Network("100.64.0.1/32"),)
    assert found.cap_grants[0].cap_map == {"old": (), "new": ({"a": 1},)}


@given(st.lists(st.lists(st.sampled_from(["100.64.0.1", "100.64.0.2", "cap:x", "cap:y", "?"]), max_size=6), max_size=5))
def test_ok__one_after_the_other_as_each_alone(filters: list[list[str]]) -> None:
    reader = PacketFilterReader()
    for sources in filters:
        assert reader.read(rule(src_ips=[text]) for text in sources) == read(
            *(rule(src_ips=[text]) for text in sources)
        )
        assert reader.capabilities == {text[4:] for text in sources if text.startswith("cap:")}


def test_ok__what_stays_is_the_same_object() -> None:
    reader = PacketFilterReader()
    first = reader.read(rule(src_ips=[text]) for text in ("100.64.0.1", "100.64.0.2", "100.64.0.3"))
    now = reader.read(rule(src_ips=[text]) for text in ("100.64.0.1", "100.64.0.9", "100.64.0.3"))
    assert [one is other for one, other in zip(first, now, strict=True)] == [True, False, True]


def test_ok__a_void_filter_is_followed_by_a_whole_one() -> None:
    reader = PacketFilterReader()
    assert reader.read([rule(src_ips=["cap:x"])])
    assert reader.read([rule(src_ips=["cap:x"]), rule(src_bits=[8])]) == ()
    assert reader.capabilities == frozenset()
    assert len(reader.read([rule(src_ips=["cap:x"])])) == 1
