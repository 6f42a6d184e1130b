"""Timers and key slots, on two tunnels and a virtual clock (magicsock-disco spec 2.4)."""

from __future__ import annotations

import itertools

import pytest

from appliance.proto.wireguard import HandshakeCompleted, HandshakeFailed, KeypairInstalled, KeysZeroed, TunnelPeer

DATA = b"\x45" + bytes(63)


def drain_events(tunnel):
    """All events that wait."""
    return list(iter(tunnel.next_event, None))


def test_ok__first_packet_makes_a_session(pair) -> None:
    pair.send(pair.a, DATA)
    assert pair.kinds() == [1, 2, 4]
    assert pair.got[pair.b.public] == [DATA]
    assert drain_events(pair.a) == [KeypairInstalled(pair.b.public, True), HandshakeCompleted(pair.b.public, pair.now)]
    assert drain_events(pair.b) == [KeypairInstalled(pair.a.public, False), HandshakeCompleted(pair.a.public, pair.now)]


def test_ok__the_responder_waits_for_the_first_message(pair) -> None:
    pair.keep = lambda out: out.data[0] != 4
    pair.a.stage(pair.b.public, DATA)
    pair.a.flush(pair.b.public, pair.now)
    pair.run()
    assert pair.b.sending_keypair(pair.a.public, pair.now) is None
    assert pair.a.sending_keypair(pair.b.public, pair.now) is not None


def test_ok__a_keepalive_confirms_when_nothing_is_staged(pair) -> None:
    pair.a.configure(TunnelPeer(pair.b.public, keepalive_s=25), pair.now)
    pair.run()
    assert [len(out.data) for out in pair.wire] == [148, 92, 32]
    assert pair.b.sending_keypair(pair.a.public, pair.now) is not None


def test_ok__persistent_keepalive(pair) -> None:
    pair.a.configure(TunnelPeer(pair.b.public, keepalive_s=25), pair.now)
    pair.run()
    pair.kinds()
    pair.advance(24.9)
    assert pair.kinds() == []
    pair.advance(0.2)
    assert pair.kinds() == [4]


def test_ok__passive_keepalive_after_10_s(pair) -> None:
    pair.send(pair.a, DATA)
    pair.kinds()
    pair.advance(9.9)
    assert pair.kinds() == []
    pair.advance(0.2)
    assert [len(out.data) for out in pair.wire] == [32]
    pair.wire.clear()
    pair.advance(60)
    assert pair.kinds() == []


def test_ok__no_reply_for_15_s_asks_again(pair) -> None:
    pair.send(pair.a, DATA)
    pair.keep = lambda out: False
    pair.kinds()
    pair.send(pair.a, DATA)
    pair.advance(14.9)
    assert 1 not in pair.kinds()
    pair.advance(0.5)
    assert pair.kinds() == [1]


def test_ok__retry_with_jitter_gives_up_after_18(pair) -> None:
    times: list[float] = []

    def lose(out) -> bool:
        times.append(pair.now)
        return False

    pair.keep = lose
    pair.send(pair.a, DATA)
    pair.advance(200)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(times) == 18
    assert all(5.0 <= gap <= 5.334 for gap in gaps)
    assert len(set(gaps)) > 1
    assert HandshakeFailed(pair.b.public, 1) in drain_events(pair.a)
    assert pair.a.counters["staged_given_up"] == 1


def test_ok__the_initiator_rekeys_on_send_after_120_s(pair) -> None:
    pair.send(pair.a, DATA)
    pair.advance(119)
    pair.send(pair.a, DATA)
    assert pair.kinds().count(1) == 1
    pair.advance(2)
    pair.send(pair.b, DATA)
    assert pair.kinds().count(1) == 0
    old = pair.a.sending_keypair(pair.b.public, pair.now)
    pair.send(pair.a, DATA)
    assert pair.kinds() == [4, 1, 2, 4]
    assert pair.a.sending_keypair(pair.b.public, pair.now) is not old
    assert pair.a.session(pair.b.public).previous is old


def test_ok__the_initiator_rekeys_on_receive_after_165_s(pair) -> None:
    pair.send(pair.a, DATA)
    pair.advance(166)
    pair.kinds()
    pair.send(pair.b, DATA)
    assert pair.kinds() == [4, 1, 2, 4]


def test_ok__old_keys_are_refused_after_180_s(pair) -> None:
    pair.send(pair.a, DATA)
    keypair = pair.a.sending_keypair(pair.b.public, pair.now)
    sealed = keypair.seal_one(DATA, 0)
    pair.keep = lambda out: False
    pair.advance(180)
    assert pair.a.sending_keypair(pair.b.public, pair.now) is None
    assert pair.deliver(pair.a, sealed) == []
    assert pair.b.counters["expired_key"] == 1


def test_ok__keys_are_zeroed_after_540_s(pair) -> None:
    pair.send(pair.a, DATA)
    drain_events(pair.a)
    pair.advance(541)
    assert KeysZeroed(pair.b.public) in drain_events(pair.a)
    session = pair.a.session(pair.b.public)
    assert (session.current, session.previous, session.next) == (None, None, None)
    pair.send(pair.a, DATA)
    assert pair.got[pair.b.public] == [DATA, DATA]


def test_ok__rekey_after_messages(make_pair) -> None:
    pair = make_pair(rekey_after_messages=10)
    for _ in range(10):
        pair.send(pair.a, DATA)
    pair.advance(6)
    pair.kinds()
    pair.send(pair.a, DATA)
    assert 1 in pair.kinds()
    assert pair.got[pair.b.public] == [DATA] * 11


def test_ok__staged_packets_are_bounded(pair) -> None:
    pair.keep = lambda out: False
    for n in range(130):
        pair.a.stage(pair.b.public, bytes((n,)) * 16)
    pair.a.flush(pair.b.public, pair.now)
    pair.run()
    assert pair.a.session(pair.b.public).staged == 128
    assert pair.a.counters["staged_overflow"] == 2
    pair.keep = lambda out: True
    pair.advance(6)
    assert pair.got[pair.b.public] == [bytes((n,)) * 16 for n in range(2, 130)]


def test_ok__both_begin_at_once(pair) -> None:
    for tunnel, other in ((pair.a, pair.b), (pair.b, pair.a)):
        tunnel.stage(other.public, DATA)
        tunnel.flush(other.public, pair.now)
    pair.run()
    assert pair.got == {pair.a.public: [DATA], pair.b.public: [DATA]}
    pair.send(pair.a, DATA)
    pair.send(pair.b, DATA)
    assert pair.got == {pair.a.public: [DATA] * 2, pair.b.public: [DATA] * 2}


def test_ok__reset_begins_anew_at_once(pair) -> None:
    pair.send(pair.a, DATA)
    pair.kinds()
    pair.advance(0.05)
    pair.a.reset(pair.b.public, pair.now)
    pair.send(pair.a, DATA)
    assert pair.kinds() == [1, 2, 4]


@pytest.mark.parametrize("lost", range(4))
def test_ok__any_one_lost_message_heals(pair, lost: int) -> None:
    count = iter(range(1000))
    pair.keep = lambda out: next(count) != lost
    pair.send(pair.a, DATA)
    pair.advance(20)
    pair.send(pair.a, DATA)
    pair.advance(20)
    assert pair.got[pair.b.public][-1] == DATA
