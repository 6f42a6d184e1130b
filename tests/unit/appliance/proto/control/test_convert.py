"""Wire to values: checked, bounded, one bad entry never takes another with it."""

import pytest

from appliance.proto.control import convert
from appliance.proto.control import messages as wire
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError

KEY = "nodekey:" + "ab" * 32


def make_node(**fields: object) -> wire.Node:
    return wire.Node(**{"id": 1, "name": "a.example.", "key": KEY, **fields})  # type: ignore[arg-type]


def test_ok__node() -> None:
    node = convert.node(
        make_node(
            addresses=["100.64.0.1/32", "bad", "fd7a:115c:a1e0::1/128"],
            endpoints=["192.0.2.1:41641", "192.0.2.1", "[::ffff:192.0.2.2]:1"],
            disco_key="discokey:" + "0" * 64,
            key_expiry="0001-01-01T00:00:00Z",
            last_seen="nonsense",
            home_derp=900,
            hostinfo=wire.Hostinfo(os="linux", services=[wire.Service(proto="peerapi4", port=80)]),
            cap_map={"a": None},
        )
    )
    assert [str(prefix) for prefix in node.addresses] == ["100.64.0.1/32", "fd7a:115c:a1e0::1/128"]
    assert node.allowed_ips == node.addresses
    assert node.endpoints == (AddrPort("192.0.2.1", 41641), AddrPort("192.0.2.2", 1))
    assert (node.disco_key, node.key_expiry, node.last_seen) == (None, None, None)
    assert node.services == (("peerapi4", 80, ""),)
    assert node.cap_map == {"a": ()}


def test_ok__where_a_node_is() -> None:
    given = wire.Location(
        country="Germany", country_code="DE", city="x" * 1000, latitude=52.5, longitude=13.4, priority=-3
    )
    found = convert.node(make_node(hostinfo=wire.Hostinfo(location=given))).location
    assert found is not None
    assert (found.country_code, found.latitude, found.longitude, found.priority) == ("DE", 52.5, 13.4, 0)
    assert len(found.city) < 1000
    nowhere = wire.Location(city="Atlantis", latitude=900.0, longitude=13.4)
    found = convert.node(make_node(hostinfo=wire.Hostinfo(location=nowhere))).location
    assert found is not None
    assert (found.city, found.is_placed) == ("Atlantis", False)
    assert convert.node(make_node()).location is None


def test_ok__allowed_ips_empty_is_not_absent() -> None:
    assert convert.node(make_node(addresses=["100.64.0.1/32"], allowed_ips=[])).allowed_ips == ()


@pytest.mark.parametrize(
    "fields", [{"id": 0}, {"id": 2**53}, {"name": ""}, {"key": ""}, {"key": "nodekey:" + "0" * 64}, {"name": "x" * 300}]
)
def test_fail__unusable_node(fields: dict) -> None:
    with pytest.raises(DecodeError):
        convert.node(make_node(**fields))
    assert len(convert.nodes([make_node(**fields), make_node()])) == 1


def test_ok__derp_map_keeps_the_good_regions() -> None:
    good = wire.DerpRegion(
        region_id=900,
        region_code="a",
        region_name="A",
        nodes=[
            wire.DerpNode(name="900a", region_id=900, host_name="192.0.2.1", stun_port=-1),
            wire.DerpNode(name="x", region_id=901, host_name="192.0.2.1"),
            wire.DerpNode(name="y", region_id=900, host_name="h", derp_port=70000),
        ],
    )
    regions = {"900": good, "1": wire.DerpRegion(region_id=2), "70000": wire.DerpRegion(region_id=70000), "3": None}
    found = convert.derp_map(wire.DerpMap(regions=regions, home_params=wire.DerpHomeParams(region_score={"9": -1.0})))
    assert [[node.name for node in region.nodes] for region in found] == [["900a"]]
    assert found.region_score == {}


def test_ok__dns_config() -> None:
    found = convert.dns_config(
        wire.DnsConfig(
            routes={"example": None, "corp": [wire.Resolver(addr="192.0.2.53"), wire.Resolver()]}, proxied=True
        )
    )
    assert found.routes["example"] == ()
    assert [resolver.addr for resolver in found.routes["corp"]] == ["192.0.2.53"]
    assert found.proxied


def test_ok__typed_endpoints_stay_parallel() -> None:
    found, types = convert.typed_endpoints(["192.0.2.1:1", "bad", "192.0.2.3:3", "192.0.2.4:4"], [1, 2, 99])
    assert found == (AddrPort("192.0.2.1", 1), AddrPort("192.0.2.3", 3), AddrPort("192.0.2.4", 4))
    assert types == (1, 0, 0)
