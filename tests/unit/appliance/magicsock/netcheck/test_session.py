from ipaddress import ip_address
from math import inf

import pytest

from appliance.magicsock.netcheck.session import Families, NetcheckSession
from appliance.magicsock.outbox import FindCaptivePortal, MeasureHttps, ResolveNames, SendDatagram
from appliance.proto.stun import BindingResponse, parse_request
from appliance.types.addresses import AddrPort
from appliance.types.ids import RegionId
from appliance.types.netmap import DerpMap, DerpNode, DerpRegion

SEEN = AddrPort("198.51.100.1", 41641)
V4 = Families(v4=True, v6=False)
NONE = RegionId(0)


def actions(rig):
    taken = []
    while (action := rig.outbox.next_action()) is not None:
        taken.append(action)
    return taken


@pytest.fixture
def session(rig):
    return NetcheckSession(rig.outbox)


def test_ok__run_with_literal_addresses(rig, session):
    session.start(rig.derp_map(1), V4, NONE, rig.now)
    (request,) = actions(rig)
    assert request.to == AddrPort("203.0.113.1", 3478)
    assert session.receive(BindingResponse(parse_request(request.data), SEEN), rig.now + 0.05)
    report = session.take_finished()
    assert report.full
    assert report.udp
    assert session.take_finished() is None
    assert not session.running


def test_ok__second_run_is_incremental_until_five_minutes(rig, session):
    for at, full in ((0, True), (60, False), (301, True)):
        session.start(rig.derp_map(1), V4, NONE, rig.now + at)
        request = actions(rig)[0]
        session.receive(BindingResponse(parse_request(request.data), SEEN), rig.now + at + 0.05)
        assert session.take_finished().full is full


def test_ok__names_are_resolved_first_and_remembered(rig, session):
    node = DerpNode("1a", RegionId(1), "d.example", ipv6="none")
    derp_map = DerpMap({RegionId(1): DerpRegion(RegionId(1), "r", "R", (node,))})
    session.start(derp_map, V4, NONE, rig.now)
    assert actions(rig) == [ResolveNames(("d.example",))]
    session.receive_names({"d.example": (ip_address("203.0.113.8"),)}, rig.now + 0.1)
    (request,) = actions(rig)
    assert request.to.ip == "203.0.113.8"
    session.abort()
    session.start(derp_map, V4, NONE, rig.now + 10)
    assert isinstance(actions(rig)[0], SendDatagram)


def test_ok__names_that_never_come_do_not_hold_the_run(rig, session):
    node = DerpNode("1a", RegionId(1), "d.example", ipv6="none")
    session.start(DerpMap({RegionId(1): DerpRegion(RegionId(1), "r", "R", (node,))}), V4, NONE, rig.now)
    actions(rig)
    session.handle_timer(session.next_timer())
    assert actions(rig) == [MeasureHttps((RegionId(1),))]


def test_ok__without_udp_regions_are_measured_by_https(rig, session):
    session.start(rig.derp_map(1, 2), V4, NONE, rig.now)
    while session.running and not any(isinstance(a, MeasureHttps) for a in actions(rig)):
        session.handle_timer(session.next_timer())
    session.receive_https(RegionId(1), 0.2, rig.now + 3.3)
    assert session.take_finished() is None
    session.receive_https(RegionId(2), None, rig.now + 3.4)
    report = session.take_finished()
    assert not report.udp
    assert report.region_latency == {RegionId(1): 0.2}


def test_ok__https_is_not_waited_for_beyond_five_seconds(rig, session):
    session.start(rig.derp_map(1), V4, NONE, rig.now)
    for _ in range(20):
        at = session.next_timer()
        if at is None:
            break
        session.handle_timer(at)
    assert at is None or at <= rig.now + 5
    assert session.take_finished() is not None


def test_fail__stun_port_that_is_switched_off(rig, session):
    node = DerpNode("1a", RegionId(1), "d.example", ipv4="203.0.113.1", ipv6="none", stun_port=-1)
    session.start(DerpMap({RegionId(1): DerpRegion(RegionId(1), "r", "R", (node,))}), V4, NONE, rig.now)
    assert actions(rig) == [MeasureHttps((RegionId(1),))]


def test_fail__answers_outside_a_run(session, rig):
    assert not session.receive(BindingResponse(b"x" * 12, SEEN), rig.now)
    session.receive_https(RegionId(1), 0.1, rig.now)
    session.receive_names({"x": ()}, rig.now)
    assert session.take_finished() is None


def portal_map():
    node = DerpNode("1a", RegionId(1), "d.example", ipv4="203.0.113.1", ipv6="none", can_port80=True)
    return DerpMap({RegionId(1): DerpRegion(RegionId(1), "r", "R", (node,))})


def run_out(session):
    """Timers until the run ends."""
    while session.running:
        session.handle_timer(session.next_timer())


def test_ok__a_full_run_without_answers_looks_for_a_captive_portal(rig, session):
    session.start(portal_map(), V4, NONE, rig.now)
    actions(rig)
    session.handle_timer(rig.now + 0.1)
    assert not [action for action in actions(rig) if isinstance(action, FindCaptivePortal)]
    session.handle_timer(rig.now + 0.2)
    assert FindCaptivePortal(("203.0.113.1",)) in actions(rig)
    session.receive_captive(True, rig.now + 0.5)
    run_out(session)
    report = session.take_finished()
    assert report.captive_portal is True
    session.start(portal_map(), V4, NONE, rig.now + 10)
    run_out(session)
    assert session.take_finished().full, "behind a portal every run is a full one"


def test_ok__an_answer_in_time_makes_the_portal_unthinkable(rig, session):
    session.start(portal_map(), V4, NONE, rig.now)
    (request,) = actions(rig)
    session.receive(BindingResponse(parse_request(request.data), SEEN), rig.now + 0.05)
    assert not [action for action in actions(rig) if isinstance(action, FindCaptivePortal)]
    assert session.take_finished().captive_portal is None


def test_ok__the_search_for_a_portal_is_waited_for_but_not_for_ever(rig, session):
    session.start(portal_map(), V4, NONE, rig.now)
    run_out(session)
    assert session.take_finished().captive_portal is None
    session.receive_captive(True, rig.now + 9)
    assert session.take_finished() is None


@pytest.mark.parametrize(("icmp", "told", "latency"), [(0.1, True, 0.1), (inf, False, 0.2), (None, None, 0.2)])
def test_ok__icmp_beside_https(rig, session, icmp, told, latency):
    session.start(rig.derp_map(1), V4, NONE, rig.now)
    while not any(isinstance(action, MeasureHttps) for action in actions(rig)):
        session.handle_timer(session.next_timer())
    session.receive_icmp(RegionId(9), 0.001)
    if icmp is not None:
        session.receive_icmp(RegionId(1), icmp)
    session.receive_https(RegionId(1), 0.2, rig.now + 3.5)
    report = session.take_finished()
    assert (report.icmpv4, report.ipv4, report.udp) == (told, bool(told), False)
    assert report.region_latency == {RegionId(1): latency}
