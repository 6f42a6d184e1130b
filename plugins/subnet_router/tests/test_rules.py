from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.api import AttachedPrefix, OfferedRoute, RefusedRoute
from plugins.subnet_router.rules import (
    ADVERTISED_HERE,
    IN_OVERLAY,
    UNWANTED,
    conflicts,
    families,
    offers_subnets,
    overlapping,
    select_routes,
    unapproved,
)

LAN = AttachedPrefix("192.168.10.0/24", "eth1", "192.168.10.1")


def offers(*prefixes: str) -> tuple[OfferedRoute, ...]:
    return tuple(OfferedRoute(prefix, f"n{index}") for index, prefix in enumerate(prefixes))


def test_ok__other_networks_are_accepted() -> None:
    found = select_routes(offers("192.168.20.0/24", "fd00:2::/64", "192.168.20.0/24"), (LAN,), ())
    assert found.accepted == ("192.168.20.0/24", "fd00:2::/64")
    assert found.refused == ()
    assert found.throws == ()


def test_fail__own_network_is_refused() -> None:
    found = select_routes(offers("192.168.10.0/24"), (LAN,), ())
    assert found.accepted == ()
    assert "eth1" in found.refused[0].reason


def test_ok__larger_network_is_accepted_and_own_one_thrown() -> None:
    found = select_routes(offers("192.168.0.0/16"), (LAN,), ())
    assert found.accepted == ("192.168.0.0/16",)
    assert found.throws == ("192.168.10.0/24",)


@pytest.mark.parametrize(("prefix", "accepted"), [("192.168.10.0/28", False), ("192.168.10.128/25", True)])
def test_ok__part_of_the_own_network(prefix: str, accepted: bool) -> None:
    found = select_routes(offers(prefix), (LAN,), ())
    assert bool(found.accepted) is accepted
    assert bool(conflicts(found)) is not accepted


def test_fail__own_advertisement_is_refused_silently() -> None:
    found = select_routes(offers("10.9.0.0/16"), (), ("10.9.0.0/16",))
    assert found.refused == (RefusedRoute("10.9.0.0/16", ADVERTISED_HERE),)
    assert conflicts(found) == ()


@pytest.mark.parametrize("prefix", ["100.64.0.0/10", "96.0.0.0/4", "fd7a:115c:a1e0::/48"])
def test_fail__ranges_of_the_mesh_are_refused(prefix: str) -> None:
    assert select_routes(offers(prefix), (), ()).refused == (RefusedRoute(prefix, IN_OVERLAY),)


def test_ok__default_routes_are_left_to_others() -> None:
    found = select_routes(offers("0.0.0.0/0", "::/0"), (LAN,), ())
    assert found.accepted == ()
    assert found.refused == ()


def test_ok__small_rules() -> None:
    assert unapproved(("10.1.0.0/16", "10.2.0.0/16"), ("10.2.0.0/16",)) == ("10.1.0.0/16",)
    assert families(("10.0.0.0/8", "fd00::/64")) == {4, 6}
    assert offers_subnets(("0.0.0.0/0", "10.0.0.0/8"))
    assert not offers_subnets(("0.0.0.0/0", "::/0"))


PREFIXES = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 32)).map(
    lambda pair: str(ip_network((pair[0], pair[1]), strict=False))
)


@settings(max_examples=200)
@given(offered=st.lists(PREFIXES, max_size=6), lans=st.lists(PREFIXES, max_size=3))
def test_ok__accepting_never_cuts_an_own_network_off(offered: list[str], lans: list[str]) -> None:
    attached = tuple(AttachedPrefix(lan, "eth0", str(ip_network(lan).network_address)) for lan in lans)
    found = select_routes(offers(*offered), attached, ())
    for prefix in found.accepted:
        for lan in attached:
            network = ip_network(lan.prefix)
            assert prefix != lan.prefix
            if network.subnet_of(ip_network(prefix)):
                assert lan.prefix in found.throws
            elif ip_network(prefix).subnet_of(network):
                assert network.network_address not in ip_network(prefix)


def test_ok__settings_may_refuse_routes() -> None:
    offered = (OfferedRoute("192.168.20.0/24", "n2"), OfferedRoute("10.1.0.0/16", "n3"))
    chosen = select_routes(offered, (), (), ("10.0.0.0/8",))
    assert chosen.accepted == ("192.168.20.0/24",)
    assert [each.reason for each in chosen.refused] == [UNWANTED]
    assert conflicts(chosen) == (), "wished for, so no problem"


def test_ok__overlaps_are_found() -> None:
    prefixes = ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "192.168.0.0/16", "fd00::/8", "fd00:1::/64")
    assert overlapping(prefixes) == (
        ("10.0.0.0/8", "10.1.0.0/16"),
        ("10.1.0.0/16", "10.1.2.0/24"),
        ("fd00::/8", "fd00:1::/64"),
    )
    assert overlapping(("10.1.0.0/16", "10.2.0.0/16")) == ()
