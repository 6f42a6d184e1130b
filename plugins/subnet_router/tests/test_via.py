from __future__ import annotations

from ipaddress import IPv4Network, ip_network

import pytest

from appliance.api import SettingError
from appliance.types.addresses import known_prefix
from plugins.subnet_router.config import SubnetRouterConfig
from plugins.subnet_router.rules import IN_OVERLAY, families, verdict
from plugins.subnet_router.state import RouterState
from plugins.subnet_router.via import DEVICE, example_name, lan_of, plan, pool_problem, unfit

ROUTE = "fd7a:115c:a1e0:b1a:0:7:c0a8:100/120"
POOL = "198.18.0.0/18"


def test_ok__both_ways_to_write_it() -> None:
    for text in (ROUTE, "192.168.1.0/24-via-7", "192.168.1.9/24-via-0x7"):
        assert SubnetRouterConfig((text,)).advertise_routes == (ROUTE,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("127.0.0.0/8-via-7", "lies in 127.0.0.0/8"),
        ("100.64.1.0/24-via-7", "lies in 100.64.0.0/10"),
        ("0.0.0.0/0-via-7", "every IPv4 address"),
        ("fd7a:115c:a1e0:b1a:0:7::/95", "address ranges of the mesh"),
        ("10.0.0.0/8-via-4294967296", "not a prefix"),
    ],
)
def test_fail__what_no_site_has(text: str, said: str) -> None:
    with pytest.raises(SettingError, match=said) as caught:
        SubnetRouterConfig((text,))
    assert caught.value.key == "advertise_routes[0]"


def test_ok__plan_for_routes_that_need_it() -> None:
    assert plan(("10.0.0.0/8", "fd00::/64"), POOL) is None
    made = plan(("10.0.0.0/8", ROUTE), POOL)
    assert made is not None
    assert (made.device.name, made.device.routes, made.device.masqueraded) == (DEVICE, (ROUTE, POOL), (POOL,))


def test_ok__networks_behind_routes() -> None:
    assert (lan_of(ROUTE), lan_of("10.0.0.0/8")) == ("192.168.1.0/24", "10.0.0.0/8")
    assert families((ROUTE,)) == {4, 6}
    assert (example_name(ROUTE), example_name(f"{ROUTE[:-7]}105/128")) == ("192-168-1-1-via-7", "192-168-1-5-via-7")
    state = RouterState(SubnetRouterConfig((ROUTE,), translate=("192.168.2.0/24 as 10.7.2.0/24",)))
    assert state.wanted == ("10.7.2.0/24", ROUTE)
    assert [state.lan_of(each) for each in state.wanted] == ["192.168.2.0/24", "192.168.1.0/24"]


def test_ok__peers_routes_of_that_form_are_accepted() -> None:
    assert verdict(known_prefix(ROUTE), (), (), ()) == ""
    assert verdict(known_prefix("fd7a:115c:a1e0:b1a::/64"), (), (), ()) == IN_OVERLAY


@pytest.mark.parametrize(
    ("pool", "said"),
    [
        ("198.18.0.0/8", "needs an IPv4 prefix"),
        ("198.18.0.0/30", "needs an IPv4 prefix"),
        ("fd00::/18", "needs an IPv4 prefix"),
        ("192.168.0.0/16", "overlaps 192.168.1.0/24"),
        ("169.254.0.0/18", "not routed"),
        ("239.0.0.0/18", "not routed"),
        ("ten", "no prefix"),
    ],
)
def test_fail__pools_that_cannot_be(pool: str, said: str) -> None:
    with pytest.raises(SettingError, match=said) as caught:
        SubnetRouterConfig((ROUTE,), translation_pool=pool)
    assert caught.value.key == "translation_pool"
    assert pool_problem(ip_network(POOL), (ROUTE,)) == "" == unfit(IPv4Network("10.0.0.0/8"))
