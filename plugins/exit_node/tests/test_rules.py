from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from appliance.api import Location, NodeInfo, OfferedRoute, OfferedRoutes, PeerPath, PeerState
from plugins.exit_node.config import ExitNodeConfig
from plugins.exit_node.rules import (
    DEFAULTS,
    Exit,
    Measure,
    exit_of,
    find_exit,
    in_use,
    is_allowed,
    measures,
    places,
    select_exit,
    suggest,
)

PARIS = Exit("n1", "paris.mesh.example", ("100.64.0.1", "fd7a:115c:a1e0::1"), DEFAULTS, online=True)
OSLO = Exit("n2", "oslo.mesh.example", ("100.64.0.2",), DEFAULTS, online=True)
KNOWN = {"n1": Measure("par", 0.03), "n2": Measure("osl", 0.02, direct=True)}


def test_ok__who_is_an_exit() -> None:
    assert exit_of(NodeInfo("n1", "a", routes=("10.0.0.0/8",))) is None
    found = exit_of(
        NodeInfo("n1", "a", routes=("::/0", "10.0.0.0/8", "0.0.0.0/0"), capabilities=("suggest-exit-node",))
    )
    assert found is not None
    assert found.routes == DEFAULTS
    assert found.marked


def test_ok__found_by_every_name() -> None:
    exits = (OSLO, PARIS)
    for wanted in ("n1", "paris", "Paris.mesh.example", "100.64.0.1", "fd7a:115c:a1e0::1"):
        assert find_exit(exits, wanted) is PARIS
    assert find_exit(exits, "madrid") is None


def test_ok__nearest_is_suggested() -> None:
    assert suggest((PARIS, OSLO), KNOWN) is OSLO
    assert suggest((PARIS, OSLO), {"n1": Measure("par", 0.03)}) is PARIS, "measured before unmeasured"
    assert suggest((PARIS, OSLO), {}, previous="n2") is OSLO, "no move without a reason"
    assert suggest((PARIS, OSLO), KNOWN, ("par",)) is PARIS
    assert suggest((PARIS, OSLO), KNOWN, ("mad",)) is None


def test_ok__who_may_be_suggested() -> None:
    offline = Exit("n3", "gone", (), DEFAULTS, online=False, marked=True)
    marked = Exit("n4", "marked", (), DEFAULTS, online=True, marked=True)
    half = Exit("n5", "half", (), DEFAULTS[:1], online=True)
    assert suggest((OSLO, offline), KNOWN) is OSLO
    assert suggest((OSLO, marked), KNOWN) is marked, "the policy's marks go first"
    assert suggest((half, PARIS), {"n5": Measure("x", 0.001)}) is PARIS
    assert suggest((half,), {}) is half


def test_ok__regions_are_relays_countries_and_cities() -> None:
    berlin = replace(OSLO, location=Location("Germany", "DE", "Berlin", "BER"))
    assert places(berlin, Measure("fra")) == {"fra", "de", "ber"}
    assert suggest((PARIS, berlin), KNOWN, ("de",)) is berlin
    assert suggest((PARIS, berlin), KNOWN, ("NL", "PAR")) is PARIS
    assert is_allowed(berlin, KNOWN, ("BER",))
    assert not is_allowed(berlin, KNOWN, ("nl",))
    assert is_allowed(berlin, {}, ("nl",)), "nobody knows yet"


def test_ok__the_nearest_of_unknown_latency() -> None:
    here = Location(latitude=52.5, longitude=13.4)
    near = replace(PARIS, location=Location(latitude=48.9, longitude=2.4))
    far = replace(OSLO, location=Location(latitude=40.7, longitude=-74.0))
    assert suggest((far, near), {}, here=here) is near
    assert suggest((far, near), {"n2": Measure("osl", 0.2)}, here=here) is far, "measured before unmeasured"
    first = replace(far, location=replace(far.location, priority=7))
    assert suggest((near, first), {}) is first


def test_ok__which_one_is_meant() -> None:
    exits = {"n1": PARIS, "n2": OSLO}
    assert in_use(ExitNodeConfig(), exits, "n1") is None
    assert in_use(ExitNodeConfig(use="oslo"), exits, "n1") is OSLO
    assert in_use(ExitNodeConfig(use="auto"), exits, "n1") is PARIS
    assert in_use(ExitNodeConfig(use="auto"), exits, "n9") is None


def test_ok__only_from_the_chosen_one() -> None:
    routes = (OfferedRoute(route, peer) for peer in ("n1", "n2") for route in (*DEFAULTS, "10.0.0.0/8"))
    offered = OfferedRoutes(routes)
    chosen = select_exit(offered, OSLO)
    assert chosen is not None
    assert chosen.accepted == DEFAULTS
    assert {each.stable_id for each in chosen.via} == {"n2"}
    assert select_exit(offered, None) is None


def test_ok__path_before_region() -> None:
    peers = (
        PeerState("n1", "a", home_region="par", path=PeerPath(latency_s=0.004)),
        PeerState("n2", "b", home_region="osl"),
        PeerState("n3", "c", home_region="osl"),
    )
    found = measures(peers, {"n1", "n2"}, {"par": 0.03, "osl": 0.02})
    assert found == {"n1": Measure("par", 0.004, direct=True), "n2": Measure("osl", 0.02)}


@given(
    st.lists(
        st.builds(
            Exit,
            st.sampled_from(["n1", "n2", "n3", "n4"]),
            st.just("x"),
            st.just(()),
            st.sampled_from([DEFAULTS, DEFAULTS[:1]]),
            st.sampled_from([True, False, None]),
            st.booleans(),
        ),
        unique_by=lambda each: each.stable_id,
    ),
    st.dictionaries(st.sampled_from(["n1", "n2", "n3"]), st.builds(Measure, st.just("r"), st.floats(0, 1))),
)
def test_ok__a_suggestion_is_never_offline_and_always_found(exits: list[Exit], known: dict[str, Measure]) -> None:
    best = suggest(exits, known)
    assert (best is None) == all(each.online is False for each in exits)
    assert best is None or best.online is not False
