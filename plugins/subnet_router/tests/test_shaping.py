from __future__ import annotations

import pytest

from appliance.api import NodeInfo, SettingError, TrafficShape
from plugins.subnet_router.config import SubnetRouterConfig
from plugins.subnet_router.shaping import MAX_LIMITS, NamedPeers, parse_limits, rate_text, shapes

PEER = NodeInfo("n2", "Gateway-B.mesh.example", ("100.64.0.2",), ("192.168.20.0/24", "0.0.0.0/0"))


def test_ok__limits_in_normal_form() -> None:
    config = SubnetRouterConfig(limits=("Gateway-B  20000kbit", "10.8.1.9/24 500kbit", "fd00::/64 1gbit"))
    assert config.limits == ("gateway-b 20mbit", "10.8.1.0/24 500kbit", "fd00::/64 1gbit")
    assert [each.is_peer for each in config.parsed_limits] == [True, False, False]
    assert [rate_text(each) for each in (1500, 2000, 3_000_000)] == ["1500kbit", "2mbit", "3gbit"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gateway-b", "no limit"),
        ("gateway-b fast", "no limit"),
        ("gateway-b 20mbit now", "no limit"),
        ("gateway-b 1kbit", "out of range"),
        ("gateway-b 11gbit", "out of range"),
        ("-b- 1mbit", "no name"),
        ("10.8.1.0/33 1mbit", "no prefix"),
        ("a.example 1mbit", "limited already"),
    ],
)
def test_fail__limits_that_cannot_be(text: str, said: str) -> None:
    with pytest.raises(SettingError, match=said) as caught:
        parse_limits(("a.example 2mbit", text))
    assert caught.value.key == "limits[1]"


def test_fail__too_many() -> None:
    with pytest.raises(SettingError, match=str(MAX_LIMITS)):
        SubnetRouterConfig(limits=("a 1mbit",) * (MAX_LIMITS + 1))


def test_ok__named_peers_with_what_is_behind_them() -> None:
    limits, named = parse_limits(("gateway-b 20mbit", "10.8.1.0/24 500kbit", "nobody 1mbit")), NamedPeers()
    named.want(limits)
    assert named.is_stale
    named.look((PEER, NodeInfo("n3", "other.mesh.example", ("100.64.0.3",))))
    assert not named.is_stale
    assert named.prefixes == {"gateway-b": ("100.64.0.2/32", "192.168.20.0/24")}
    assert shapes(limits, named.prefixes) == (
        TrafficShape(("100.64.0.2/32", "192.168.20.0/24"), 20_000, "gateway-b"),
        TrafficShape(("10.8.1.0/24",), 500, "10.8.1.0/24"),
    )
    named.note(NodeInfo("n2", "renamed.mesh.example", ("100.64.0.2",)))
    assert named.prefixes == {}
    named.note(PEER)
    named.want(())
    assert named.prefixes == {}
    assert not named.is_stale
    named.clear()
