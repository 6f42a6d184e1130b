import pytest

from appliance.magicsock.timing import MAX_CANDIDATES
from appliance.ports.underlay import PARKED, PeerActivity, PeerPath
from appliance.proto.disco import CallMeMaybe, Ping, Pong
from appliance.types.addresses import AddrPort
from appliance.types.events import PathChanged, PathKind
from appliance.types.ids import RegionId

THEIRS = AddrPort("192.0.2.2", 41641)
OTHER = AddrPort("198.51.100.9", 5000)
SEEN = AddrPort("192.0.2.1", 41641)


def pings(sent, to=None):
    return [s for s in sent if isinstance(s.message, Ping) and (to is None or s.to == to)]


def answer(rig, peer, sent, after=0.02, to=THEIRS):
    """The peer answers the last ping to that address."""
    rig.now += after
    assert peer.receive_pong(Pong(pings(sent, to)[-1].message.tx_id, SEEN), rig.now)


@pytest.fixture
def direct(rig):
    """A peer whose direct path is proven."""
    peer = rig.peer()
    peer.wanted(rig.now)
    answer(rig, peer, rig.take())
    rig.take()
    return peer


def busy(peer, rig, **changes):
    values = {"tx_bytes": 100, "rx_bytes": 100, "rx_direct": True, "source": THEIRS} | changes
    peer.activity(PeerActivity(peer.node.key, **values), rig.now)


def test_ok__first_want_takes_derp_at_once_and_pings_candidates(rig):
    peer = rig.peer()
    peer.wanted(rig.now)
    assert [s.to for s in pings(rig.take())] == [THEIRS]
    assert rig.paths == [PeerPath(relay=True)]
    assert rig.context.call_me_maybe_wanted == [peer.node.key]
    assert rig.events == [PathChanged(peer.node.key, PathKind.DERP, None, RegionId(1))]


def test_ok__ping_carries_our_node_key(rig):
    peer = rig.peer()
    peer.wanted(rig.now)
    assert pings(rig.take())[0].message.node_key == rig.context.node_key


def test_ok__pong_makes_the_path_direct(rig, direct):
    assert rig.paths[-1] == PeerPath(direct=THEIRS)
    assert direct.best.latency_s == pytest.approx(0.02)
    assert rig.events[-1] == PathChanged(direct.node.key, PathKind.DIRECT, THEIRS, None, pytest.approx(0.02))


def test_fail__advertised_endpoint_carries_no_data_before_its_pong(rig):
    peer = rig.peer()
    peer.wanted(rig.now)
    rig.run_timers(peer, rig.now + 20)
    assert not [path for path in rig.paths if path.direct]


def test_fail__unknown_replayed_or_relayed_pong_proves_nothing(rig):
    peer = rig.peer()
    peer.wanted(rig.now)
    tx_id = pings(rig.take())[0].message.tx_id
    assert not peer.receive_pong(Pong(bytes(12), SEEN), rig.now)
    assert not peer.receive_pong(Pong(tx_id, SEEN), rig.now, by_derp=True)
    assert peer.best is None
    assert peer.receive_pong(Pong(tx_id, SEEN), rig.now)
    assert not peer.receive_pong(Pong(tx_id, SEEN), rig.now)


def test_ok__heartbeats_every_three_seconds_keep_trust_while_answered(rig, direct):
    end = rig.now + 30
    beats = 0
    while rig.now < end:
        busy(direct, rig)
        sent = rig.run_timers(direct, rig.now + 1.0)
        for ping in pings(sent, THEIRS):
            beats += 1
            direct.receive_pong(Pong(ping.message.tx_id, SEEN), rig.now)
    assert 9 <= beats <= 11
    assert direct.trusted(rig.now)
    assert rig.paths[-1] == PeerPath(direct=THEIRS)


def test_ok__silence_under_traffic_is_probed_and_left_within_a_second(rig, direct):
    started = rig.now + 1
    rig.now = started
    busy(direct, rig, rx_bytes=0, rx_direct=False)
    sent = rig.run_timers(direct, started + 0.3)
    assert len(pings(rig.take() + sent, THEIRS)) >= 1
    assert rig.paths[-1] == PeerPath(direct=THEIRS, relay=True), "a copy goes by the relay after the first miss"
    rig.run_timers(direct, started + 0.8)
    assert not direct.trusted(rig.now)
    assert rig.events[-1].kind == PathKind.DERP


def test_ok__other_candidates_are_tried_beside_the_last_probe(rig, direct):
    """A NAT that forgot its state may let the peer's other address in once we have sent there."""
    direct.receive_ping(OTHER, rig.now)
    rig.take()
    started = rig.now = rig.now + 1
    busy(direct, rig, rx_bytes=0, rx_direct=False)
    assert not pings(rig.take() + rig.run_timers(direct, started + 0.3), OTHER)
    assert pings(rig.run_timers(direct, started + 0.6), OTHER)
    assert direct.trusted(rig.now), "the verdict is still open"


def test_ok__probe_that_is_answered_ends_the_doubt(rig, direct):
    rig.now += 1
    busy(direct, rig, rx_bytes=0, rx_direct=False)
    answer(rig, direct, rig.take())
    rig.run_timers(direct, rig.now + 1)
    assert direct.trusted(rig.now)
    assert all(not path.relay for path in rig.paths[1:])


def test_ok__idle_dead_path_is_left_in_seven_seconds(rig, direct):
    rig.run_timers(direct, rig.now + 7)
    assert not direct.trusted(rig.now)
    assert rig.paths[-1].relay


def test_ok__unanswered_heartbeat_is_repeated_after_a_second(rig, direct):
    started = rig.now
    beat = rig.run_timers(direct, started + 3.9)
    assert len(pings(beat, THEIRS)) == 1
    rig.run_timers(direct, started + 4.5)
    assert rig.paths[-1] == PeerPath(direct=THEIRS, relay=True), "before trust has passed"
    rig.run_timers(direct, started + 5)
    assert rig.events[-1].kind == PathKind.DERP


def test_ok__slow_path_gets_time_to_answer(rig):
    peer = rig.peer()
    peer.wanted(rig.now)
    answer(rig, peer, rig.take(), after=0.6)
    rig.now += 1
    busy(peer, rig, rx_bytes=0, rx_direct=False)
    probe = pings(rig.take(), THEIRS)[-1]
    rig.run_timers(peer, rig.now + 0.6)
    peer.receive_pong(Pong(probe.message.tx_id, SEEN), rig.now)
    rig.run_timers(peer, rig.now + 0.7)
    assert peer.trusted(rig.now)
    assert all(not path.relay for path in rig.paths[1:])


def test_ok__idle_peer_is_parked_without_a_timer_and_wakes_by_relay(rig, direct):
    rig.run_timers(direct, rig.now + 46)
    assert rig.paths[-1] == PARKED
    rig.run_timers(direct, rig.now + 6)
    assert direct.next_timer() is None
    direct.wanted(rig.now)
    assert pings(rig.take(), THEIRS)
    assert rig.paths[-1].relay


def test_ok__dead_best_is_dropped_when_its_ping_times_out(rig, direct):
    busy(direct, rig)
    rig.run_timers(direct, rig.now + 14)
    assert direct.best is None
    assert rig.paths[-1] == PeerPath(relay=True)


def test_ok__best_that_answers_no_ping_stays_while_the_peer_s_packets_come_along_it(rig, direct):
    for _ in range(20):
        rig.run_timers(direct, rig.now + 1)
        busy(direct, rig)
    assert rig.events[-1].kind == PathKind.DERP
    assert rig.paths[-1] == PeerPath(direct=THEIRS, relay=True)
    rig.run_timers(direct, rig.now + 14)
    assert rig.paths[-1] == PeerPath(relay=True)


@pytest.mark.parametrize("changes", [{"rx_direct": False, "source": None}, {"source": OTHER}])
def test_fail__packets_that_came_another_way_keep_no_dead_path(rig, direct, changes):
    for _ in range(20):
        rig.run_timers(direct, rig.now + 1)
        busy(direct, rig, **changes)
    assert direct.best is None


def test_ok__relayed_traffic_of_the_peer_raises_doubt(rig, direct):
    direct.relay_traffic(RegionId(1), rig.now)
    assert len(pings(rig.take(), THEIRS)) == 1


def test_ok__ping_from_elsewhere_while_ours_is_old_raises_doubt(rig, direct):
    rig.now += 1.5
    direct.receive_ping(OTHER, rig.now)
    assert len(pings(rig.take(), THEIRS)) == 1


def test_ok__ping_is_answered_with_a_ping_while_nothing_is_proven(rig):
    peer = rig.peer(endpoints=())
    peer.wanted(rig.now)
    rig.take()
    peer.receive_ping(OTHER, rig.now)
    peer.receive_ping(OTHER, rig.now + 0.1)
    assert len(pings(rig.take(), OTHER)) == 1


def test_fail__idle_peer_is_not_pinged_back(rig):
    peer = rig.peer(endpoints=())
    peer.receive_ping(OTHER, rig.now)
    assert rig.take() == []


def test_ok__authenticated_traffic_from_a_new_address_is_tried(rig, direct):
    busy(direct, rig, source=OTHER)
    assert len(pings(rig.take(), OTHER)) == 1


def test_ok__other_candidate_is_adopted_when_the_best_is_shaken(rig, direct):
    rig.now += 1
    busy(direct, rig, rx_bytes=0, rx_direct=False)
    rig.take()
    rig.run_timers(direct, rig.now + 0.3)
    direct.receive_ping(OTHER, rig.now)
    answer(rig, direct, rig.take(), to=OTHER)
    rig.take()
    assert rig.paths[-1] == PeerPath(direct=OTHER)


def test_ok__call_me_maybe_replaces_its_earlier_entries_and_pings_all(rig):
    peer = rig.peer()
    peer.receive_call_me_maybe(CallMeMaybe((OTHER,)), rig.now)
    assert {s.to for s in pings(rig.take())} == {THEIRS, OTHER}
    third = AddrPort("198.51.100.9", 6000)
    rig.now += 1
    peer.receive_call_me_maybe(CallMeMaybe((third,)), rig.now)
    assert {c.addr_port for c in peer.candidates} == {THEIRS, third}
    assert rig.context.call_me_maybe_wanted == [], "no loop"


def test_fail__call_me_maybe_with_bad_or_too_many_addresses(rig):
    peer = rig.peer(endpoints=())
    bad = (AddrPort("fe80::1", 1), AddrPort("127.0.0.1", 9), AddrPort("192.0.2.9", 0), AddrPort("fd7a:115c:a1e0::9", 1))
    many = tuple(AddrPort("198.51.100.9", 1000 + n) for n in range(300))
    peer.receive_call_me_maybe(CallMeMaybe(bad + many), rig.now)
    assert len(peer.candidates) == MAX_CANDIDATES
    assert not [endpoint for endpoint in bad if endpoint in peer.candidates]


def test_ok__call_me_maybe_goes_out_once_in_five_seconds(rig):
    peer = rig.peer()
    peer.wanted(rig.now)
    rig.run_timers(peer, rig.now + 11)
    assert 2 <= len(rig.context.call_me_maybe_wanted) <= 3


def test_ok__call_me_maybe_lists_our_endpoints_by_derp(rig):
    peer = rig.peer()
    peer.send_call_me_maybe((SEEN,))
    assert [(s.to, s.message) for s in rig.take()] == [(None, CallMeMaybe((SEEN,)))]


def test_ok__candidate_of_a_ping_goes_after_45_s(rig):
    peer = rig.peer()
    peer.receive_ping(OTHER, rig.now)
    rig.now += 46
    peer.wanted(rig.now)
    assert OTHER not in peer.candidates


def test_ok__unreachable_address_is_no_path(rig, direct):
    direct.send_failed(THEIRS, rig.now)
    rig.take()
    assert rig.paths[-1] == PeerPath(relay=True)
    assert direct.best is None


def test_ok__new_disco_key_means_restart_all_must_be_proven_anew(rig, direct):
    from dataclasses import replace

    from appliance.crypto.x25519 import clamp
    from appliance.proto.disco import DiscoKeys
    from appliance.types.keys import DiscoPrivateKey

    rig.theirs = DiscoKeys(DiscoPrivateKey(clamp(b"\x07" * 32)))
    direct.update(replace(direct.node, disco_key=rig.theirs.public), rig.now)
    assert len(pings(rig.take(), THEIRS)) == 1
    assert rig.paths[-1] == PeerPath(relay=True)


def test_ok__peer_that_expires_is_cut_off_at_once(rig, direct):
    from dataclasses import replace

    direct.update(replace(direct.node, expired=True), rig.now)
    rig.take()
    assert rig.paths[-1] == PARKED
    assert direct.next_timer() is None
    assert rig.events[-1].kind == PathKind.NONE


def test_ok__major_link_change_voids_active_and_sleeping_peers(rig, direct):
    rig.context.generation += 1
    direct.link_changed(rig.now)
    assert direct.best is None
    assert pings(rig.take(), THEIRS)
    sleeper = rig.peer()
    sleeper.wanted(rig.now)
    answer(rig, sleeper, rig.take())
    rig.run_timers(sleeper, rig.now + 50)
    rig.context.generation += 1
    sleeper.wanted(rig.now)
    assert sleeper.best is None


def test_ok__without_home_the_reverse_route_carries(rig):
    peer = rig.peer(home_derp=RegionId(0))
    peer.wanted(rig.now)
    rig.take()
    assert rig.paths == [PARKED], "nowhere to send: packets wait"
    peer.heard_by_derp(RegionId(3), rig.now)
    rig.take()
    assert rig.paths[-1] == PeerPath(relay=True)
    peer.gone_from_derp(RegionId(3), rig.now)
    rig.take()
    assert rig.paths[-1] == PARKED


def test_ok__wireguard_only_peer_gets_its_endpoint(rig):
    peer = rig.peer(disco_key=None, wireguard_only=True)
    peer.wanted(rig.now)
    assert rig.take() == []
    assert rig.paths == [PeerPath(direct=THEIRS)]


@pytest.mark.parametrize("changes", [{"expired": True}, {"disco_key": None}])
def test_fail__peer_that_cannot_be_spoken_with_stays_parked(rig, changes):
    peer = rig.peer(**changes)
    peer.wanted(rig.now)
    assert rig.take() == []
    assert rig.paths == [PARKED]


def test_ok__person_s_ping_goes_everywhere_without_a_proven_path(rig):
    peer = rig.peer()
    peer.ping_for_person(7, rig.now)
    sent = rig.take()
    assert {s.to for s in pings(sent)} == {None, THEIRS}
    by_derp = next(s for s in pings(sent) if s.to is None)
    peer.receive_pong(Pong(by_derp.message.tx_id, SEEN), rig.now + 0.05, by_derp=True)
    rig.take()
    assert [(a.token, a.region) for a in rig.other] == [(7, RegionId(1))]
    assert peer.derp_latency_s == pytest.approx(0.05)


def test_ok__person_s_ping_takes_the_proven_path_alone(rig, direct):
    direct.ping_for_person(8, rig.now)
    sent = rig.take()
    assert [s.to for s in pings(sent)] == [THEIRS]
    answer(rig, direct, sent)
    rig.take()
    assert rig.other[-1].endpoint == THEIRS


def test_ok__lan_address_wins_over_a_slightly_faster_public_one(rig):
    lan = AddrPort("192.168.1.5", 41641)
    peer = rig.peer(endpoints=(THEIRS, lan))
    peer.wanted(rig.now)
    sent = rig.take()
    answer(rig, peer, sent, after=0.010)
    answer(rig, peer, sent, after=0.001, to=lan)
    rig.take()
    assert rig.paths[-1].direct == lan


def padded(sent):
    return [ping for ping in pings(sent) if ping.message.padding]


def test_ok__sizes_are_asked_of_the_path_in_use_alone(rig, direct):
    rig.context.asks_sizes = True
    direct.receive_ping(OTHER, rig.now)
    asked = padded(rig.run_timers(direct, rig.now + 3))
    assert {ping.to for ping in asked} == {THEIRS}
    assert len(asked) == 6
    answered = sorted(asked, key=lambda ping: ping.message.padding)[:4]
    latency = direct.best.latency_s
    for ping in answered:
        assert direct.receive_pong(Pong(ping.message.tx_id, SEEN), rig.now + 1)
    assert direct.candidates.get(THEIRS).mtu.known == 1500
    assert direct.best.latency_s == latency, "a large packet takes longer"


def test_ok__lost_large_pings_say_nothing_of_the_path(rig, direct):
    rig.context.asks_sizes = True
    end = rig.now + 20
    while rig.now < end:
        busy(direct, rig)
        sent = rig.take() + rig.run_timers(direct, rig.now + 1)
        for ping in pings(sent, THEIRS):
            if not ping.message.padding:
                direct.receive_pong(Pong(ping.message.tx_id, SEEN), rig.now)
    assert direct.settled(rig.now)
    assert not direct.candidates.get(THEIRS).loss.suspicious
    assert direct.candidates.get(THEIRS).mtu.known == 0


def test_ok__no_sizes_are_asked_unless_wanted(rig, direct):
    assert not padded(rig.run_timers(direct, rig.now + 4))


def answer_all(rig, peer, until):
    """Answer every ping at once, up to `until`; the pings."""
    seen = []
    while (at := peer.next_timer()) is not None and at <= until:
        rig.now = max(rig.now, at)
        peer.handle_timer(rig.now)
        for ping in pings(rig.take(), THEIRS):
            seen.append(rig.now)
            peer.receive_pong(Pong(ping.message.tx_id, SEEN), rig.now)
    rig.now = until
    return seen


def test_ok__idle_path_is_kept_by_the_lower_disco_key(rig, direct):
    assert rig.ours.public < rig.theirs.public
    rig.context.keeps_idle = True
    answer_all(rig, direct, rig.now + 46)
    kept = answer_all(rig, direct, rig.now + 120)
    assert len(kept) == 3, "after 8, 28 and 58 s"
    assert direct.idle.survives_s == 60
    assert rig.paths[-1] == PARKED


def test_ok__dead_idle_path_is_no_path_any_more(rig, direct):
    rig.context.keeps_idle = True
    answer_all(rig, direct, rig.now + 46)
    rig.run_timers(direct, rig.now + 20)
    assert direct.best is None
    assert rig.outbox.counters["idle_path_died"] == 1
    assert direct.next_timer() is None
