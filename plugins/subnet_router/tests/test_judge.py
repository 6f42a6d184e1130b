"""What is judged, and that judging step by step gives what a fresh judge says."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.api import AttachedPrefix, OfferedRoute, OfferedRoutes, RefusedRoute
from plugins.subnet_router.judge import Judgement, RouteJudge
from plugins.subnet_router.rules import ADVERTISED_HERE, IN_OVERLAY, UNWANTED

LAN = AttachedPrefix("192.168.10.0/24", "eth1", "192.168.10.1")


def judge(*prefixes: str, lans: tuple[AttachedPrefix, ...] = (LAN,), wanted: str = "", unwanted: str = "") -> Judgement:
    offered = OfferedRoutes(OfferedRoute(prefix, f"n{index}") for index, prefix in enumerate(prefixes))
    return RouteJudge().judge(offered, lans, wanted.split(), unwanted.split())


def test_ok__other_networks_are_accepted() -> None:
    found = judge("192.168.20.0/24", "fd00:2::/64", "192.168.20.0/24").selection
    assert found.accepted == ("192.168.20.0/24", "fd00:2::/64")
    assert found.refused == ()
    assert found.throws == ()


def test_fail__own_network_is_refused() -> None:
    found = judge("192.168.10.0/24").selection
    assert found.accepted == ()
    assert "eth1" in found.refused[0].reason


def test_ok__larger_network_is_accepted_and_own_one_thrown() -> None:
    found = judge("192.168.0.0/16").selection
    assert found.accepted == ("192.168.0.0/16",)
    assert found.throws == ("192.168.10.0/24",)


@pytest.mark.parametrize(("prefix", "accepted"), [("192.168.10.0/28", False), ("192.168.10.128/25", True)])
def test_ok__part_of_the_own_network(prefix: str, accepted: bool) -> None:
    found = judge(prefix)
    assert bool(found.selection.accepted) is accepted
    assert bool(found.conflicts) is not accepted


def test_fail__own_advertisement_is_refused_silently() -> None:
    found = judge("10.9.0.0/16", wanted="10.9.0.0/16")
    assert found.selection.refused == (RefusedRoute("10.9.0.0/16", ADVERTISED_HERE),)
    assert not found.conflicts


@pytest.mark.parametrize("prefix", ["100.64.0.0/10", "96.0.0.0/4", "fd7a:115c:a1e0::/48"])
def test_fail__ranges_of_the_mesh_are_refused(prefix: str) -> None:
    found = judge(prefix)
    assert found.selection.refused == (RefusedRoute(prefix, IN_OVERLAY),)
    assert found.conflicts == {prefix: IN_OVERLAY}


def test_ok__default_routes_are_left_to_others() -> None:
    assert judge("0.0.0.0/0", "::/0").selection.verdicts == {}


def test_ok__settings_may_refuse_routes() -> None:
    found = judge("192.168.20.0/24", "10.1.0.0/16", unwanted="10.0.0.0/8")
    assert found.selection.accepted == ("192.168.20.0/24",)
    assert [each.reason for each in found.selection.refused] == [UNWANTED]
    assert not found.conflicts, "wished for, so no problem"


def test_ok__settings_may_take_some_routes_alone() -> None:
    offered = OfferedRoutes(OfferedRoute(each, "n1") for each in ("10.1.0.0/16", "10.0.0.0/7", "fd00:2::/64"))
    judge_of_one_run = RouteJudge()
    found = judge_of_one_run.judge(offered, (LAN,), (), (), ("10.0.0.0/8",)).selection
    assert found.accepted == ("10.1.0.0/16",), "not what is larger, nor the other IP version"
    assert {each.reason for each in found.refused} == {UNWANTED}
    assert len(judge_of_one_run.judge(offered, (LAN,), (), ()).selection.accepted) == 3


def test_ok__own_routes_first_for_all_and_for_some() -> None:
    routes = ("10.1.0.0/16", "10.1.2.0/24", "192.168.20.0/24", "fd00:2::/64")
    offered = OfferedRoutes(OfferedRoute(each, "n1") for each in routes)
    judge = RouteJudge()

    def giving_way(own_first: tuple[str, ...], mesh_first: tuple[str, ...] = ()) -> set[str]:
        found = judge.judge(offered, (LAN,), (), ("192.168.0.0/16",), (), own_first, mesh_first).selection
        return set(found.own_first)

    assert giving_way(()) == set()
    assert giving_way(("0.0.0.0/0", "::/0")) == {"10.1.0.0/16", "10.1.2.0/24", "fd00:2::/64"}, "what is refused is not"
    assert giving_way(("0.0.0.0/0",), ("10.1.0.0/16",)) == set()
    assert giving_way(("10.1.2.0/24",), ("10.1.0.0/16",)) == {"10.1.2.0/24"}, "the smaller one decides"
    assert giving_way(("10.1.0.0/16",), ("10.1.2.0/24",)) == {"10.1.0.0/16"}
    fewer = OfferedRoutes(OfferedRoute(each, "n1") for each in routes[1:])
    assert not judge.judge(
        fewer, (LAN,), (), ("192.168.0.0/16",), (), ("10.1.0.0/16",), ("10.1.2.0/24",)
    ).selection.own_first


PREFIXES = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 32)).map(
    lambda pair: str(ip_network((pair[0], pair[1]), strict=False))
)


@settings(max_examples=200)
@given(offered=st.lists(PREFIXES, max_size=6), lans=st.lists(PREFIXES, max_size=3))
def test_ok__accepting_never_cuts_an_own_network_off(offered: list[str], lans: list[str]) -> None:
    attached = tuple(AttachedPrefix(lan, "eth0", str(ip_network(lan).network_address)) for lan in lans)
    found = judge(*offered, lans=attached).selection
    for prefix in found.accepted:
        for lan in attached:
            network = ip_network(lan.prefix)
            assert prefix != lan.prefix
            if network.subnet_of(ip_network(prefix)):
                assert lan.prefix in found.throws
            elif ip_network(prefix).subnet_of(network):
                assert network.network_address not in ip_network(prefix)


NETWORKS = ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "192.168.0.0/16", LAN.prefix, "100.64.0.0/10", "0.0.0.0/0")
ROUTES = st.builds(OfferedRoute, st.sampled_from(NETWORKS), st.sampled_from(("n1", "n2")))
STEPS = st.lists(
    st.tuples(
        st.frozensets(ROUTES, max_size=8),
        st.sampled_from(((LAN,), ())),
        st.sampled_from(((), ("10.1.0.0/16",))),
        st.sampled_from(((), ("192.168.0.0/16",))),
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.timeout(60)
@settings(max_examples=150)
@given(STEPS)
def test_ok__step_by_step_as_from_the_start(
    steps: list[tuple[frozenset[OfferedRoute], tuple[AttachedPrefix, ...], tuple[str, ...], tuple[str, ...]]],
) -> None:
    judging, offered = RouteJudge(), OfferedRoutes()
    for routes, attached, wanted, unwanted in steps:
        offered = offered.changed(set(offered) - routes, routes - set(offered))
        assert judging.judge(offered, attached, wanted, unwanted) == RouteJudge().judge(
            OfferedRoutes(routes), attached, wanted, unwanted
        )
