"""The machine against wrong, repeated, forged and too many messages."""

from __future__ import annotations

import random as stdlib_random

import pytest

from appliance.crypto.x25519 import clamp
from appliance.ports.randomness import SeededRandomness
from appliance.proto.wireguard import RelaySource, Tunnel, TunnelPeer
from appliance.types.addresses import AddrPort
from appliance.types.keys import NodePrivateKey, PresharedKey

DATA = b"\x45" + bytes(63)
SOURCE = AddrPort("198.51.100.1", 7)


def initiation(pair, tunnel=None) -> bytes:
    """A fresh initiation of `a`, taken off the wire."""
    tunnel = tunnel or pair.a
    tunnel.reset(pair.b.public, pair.now)
    tunnel.stage(pair.b.public, DATA)
    tunnel.flush(pair.b.public, pair.now)
    return tunnel.datagrams_to_send(pair.now)[-1].data


def test_ok__preshared_key(make_pair) -> None:
    pair = make_pair(psk=PresharedKey(bytes(range(32))))
    pair.send(pair.a, DATA)
    assert pair.got[pair.b.public] == [DATA]


def test_fail__different_preshared_keys(make_pair) -> None:
    pair = make_pair(psk=PresharedKey(bytes(range(32))))
    pair.b.configure(TunnelPeer(pair.a.public), pair.now)
    pair.send(pair.a, DATA)
    assert pair.got[pair.b.public] == []
    assert pair.a.counters["bad_ciphertext"] == 1


def test_fail__repeated_initiation(pair) -> None:
    data = initiation(pair)
    assert pair.b.receive_datagram(data, SOURCE, pair.now) == []
    assert len(pair.b.datagrams_to_send(pair.now)) == 1
    pair.b.receive_datagram(data, SOURCE, pair.now + 1)
    assert pair.b.datagrams_to_send(pair.now) == []
    assert pair.b.counters["old_timestamp"] == 1


def test_fail__a_restart_does_not_forget_the_greatest_timestamp(pair) -> None:
    data = initiation(pair)
    pair.b.receive_datagram(data, SOURCE, pair.now)
    stored = dict(pair.b.greatest_timestamps)
    private = pair.b._context.local.private
    again = Tunnel(private, SeededRandomness(3), lambda: pair.wall_ns, greatest=stored)
    again.configure(TunnelPeer(pair.a.public), pair.now)
    again.receive_datagram(data, SOURCE, pair.now)
    assert again.counters["old_timestamp"] == 1


def test_ok__a_wall_clock_that_jumped_back_is_still_accepted(pair) -> None:
    pair.send(pair.a, DATA)
    pair.wall_ns -= 10**15
    pair.a.reset(pair.b.public, pair.now)
    pair.advance(1)
    pair.send(pair.a, DATA)
    assert pair.got[pair.b.public] == [DATA, DATA]
    assert pair.a.last_timestamp == pair.b.greatest_timestamps[pair.a.public]


def test_fail__unknown_peer(pair) -> None:
    stranger = Tunnel(NodePrivateKey(clamp(bytes(32))), SeededRandomness(9), lambda: pair.wall_ns)
    stranger.configure(TunnelPeer(pair.b.public), pair.now)
    pair.b.receive_datagram(initiation(pair, stranger), SOURCE, pair.now)
    assert pair.b.counters["unknown_peer"] == 1
    assert pair.b.datagrams_to_send(pair.now) == []


def test_fail__initiations_of_one_peer_are_limited(pair) -> None:
    pair.b.receive_datagram(initiation(pair), SOURCE, pair.now)
    pair.b.receive_datagram(initiation(pair), SOURCE, pair.now + 0.01)
    assert pair.b.counters["initiation_flood"] == 1
    pair.b.receive_datagram(initiation(pair), SOURCE, pair.now + 0.03)
    assert len(pair.b.datagrams_to_send(pair.now)) == 2


def test_ok__roaming_follows_authenticated_messages_only(pair) -> None:
    pair.send(pair.a, DATA)
    sealed = pair.a.sending_keypair(pair.b.public, pair.now).seal_one(DATA, 0)
    forged = sealed[:-1] + bytes((sealed[-1] ^ 1,))
    pair.b.receive_datagram(forged, SOURCE, pair.now)
    assert pair.b.session(pair.a.public).source == AddrPort("192.0.2.1", 41641)
    pair.b.receive_datagram(sealed, SOURCE, pair.now)
    assert pair.b.session(pair.a.public).source == SOURCE
    pair.b.receive_datagram(sealed, AddrPort("198.51.100.9", 9), pair.now)
    assert pair.b.session(pair.a.public).source == SOURCE
    assert pair.b.counters["replay"] == 1


def test_ok__answers_go_where_the_question_came_from(pair) -> None:
    source = RelaySource(pair.a.public)
    pair.b.receive_datagram(initiation(pair), source, pair.now)
    (answer,) = pair.b.datagrams_to_send(pair.now)
    assert (answer.peer, answer.to, answer.data[0]) == (pair.a.public, source, 2)


def test_ok__under_load_a_cookie_is_asked_for_then_accepted(make_pair) -> None:
    pair = make_pair(handshake_queue=16, handshake_rate=0.1)
    stranger = Tunnel(NodePrivateKey(clamp(bytes(32))), SeededRandomness(9), lambda: pair.wall_ns)
    stranger.configure(TunnelPeer(pair.b.public), pair.now)
    for _ in range(3):
        pair.b.receive_datagram(initiation(pair, stranger), SOURCE, pair.now)
    pair.b.datagrams_to_send(pair.now)
    pair.send(pair.a, DATA)
    assert pair.kinds() == [1, 3]
    assert pair.got[pair.b.public] == []
    pair.advance(0.5)
    assert pair.kinds() == []
    for _ in range(3):
        pair.b.receive_datagram(initiation(pair, stranger), SOURCE, pair.now)
    pair.b.datagrams_to_send(pair.now)
    pair.advance(4.6)
    for _ in range(3):
        pair.b.receive_datagram(initiation(pair, stranger), SOURCE, pair.now)
    pair.b.datagrams_to_send(pair.now)
    sent = pair.b.counters["cookie_sent"]
    pair.advance(0.5)
    assert pair.kinds() == [1, 2, 4]
    assert pair.b.counters["cookie_sent"] == sent
    assert pair.got[pair.b.public] == [DATA]


def test_fail__under_load_each_source_has_a_share(make_pair) -> None:
    pair = make_pair(handshake_queue=64, handshake_rate=0.001, peer_initiations_per_s=1e9)
    source = AddrPort("192.0.2.1", 41641)
    for _ in range(9):
        pair.b.receive_datagram(initiation(pair), source, pair.now)
    (cookie,) = [out for out in pair.b.datagrams_to_send(pair.now) if out.data[0] == 3]
    pair.a.receive_datagram(cookie.data, SOURCE, pair.now)
    assert pair.a.counters == {}
    for _ in range(7):
        pair.b.receive_datagram(initiation(pair), source, pair.now)
    assert pair.b.counters["rate_limited"] == 2


def test_fail__queue_full(make_pair) -> None:
    pair = make_pair(handshake_queue=2, handshake_rate=0.001)
    for _ in range(4):
        pair.b.receive_datagram(initiation(pair), SOURCE, pair.now)
    assert pair.b.counters["handshake_queue_full"] == 2


def test_fail__message_limit_stops_sending(make_pair) -> None:
    pair = make_pair(reject_after_messages=4)
    pair.send(pair.a, DATA)
    keypair = pair.a.sending_keypair(pair.b.public, pair.now)
    slots = memoryview(bytearray(4 * 48))
    assert not pair.a.seal(keypair, slots, 48, pair.now)
    assert pair.a.counters["message_limit"] == 1
    assert pair.a.seal(keypair, slots[: 3 * 48], 48, pair.now)
    assert pair.a.sending_keypair(pair.b.public, pair.now) is None


def test_fail__removed_peer(pair) -> None:
    pair.send(pair.a, DATA)
    sealed = pair.a.sending_keypair(pair.b.public, pair.now).seal_one(DATA, 0)
    pair.b.remove(pair.a.public)
    assert pair.b.receive_datagram(sealed, SOURCE, pair.now) == []
    assert pair.b.counters["unknown_index"] == 1
    assert not pair.b._context.indices


def test_ok__unfinished_handshakes_leave_no_index_behind(pair) -> None:
    for _ in range(20):
        pair.advance(0.1)
        pair.b.receive_datagram(initiation(pair), SOURCE, pair.now)
    assert len(pair.b.datagrams_to_send(pair.now)) == 20
    assert len(pair.a._context.indices) == len(pair.b._context.indices) == 1


def test_ok__another_identity_forgets_sessions(pair) -> None:
    pair.send(pair.a, DATA)
    before = pair.a.public
    pair.a.set_private_key(NodePrivateKey(clamp(bytes(range(32)))), pair.now)
    assert pair.a.public != before
    assert pair.a.session(pair.b.public) is None


@pytest.mark.parametrize("seed", range(5))
def test_ok__loss_and_reordering(make_pair, seed: int) -> None:
    pair = make_pair(seed=seed)
    dice = stdlib_random.Random(seed)
    pair.keep = lambda out: dice.random() > 0.3
    for n in range(200):
        tunnel, other = (pair.a, pair.b) if dice.random() < 0.5 else (pair.b, pair.a)
        tunnel.stage(other.public, n.to_bytes(16, "big"))
        tunnel.flush(other.public, pair.now)
        pair.run()
        pair.advance(dice.uniform(0, 10))
    pair.keep = lambda out: True
    pair.advance(30)
    pair.send(pair.a, b"\xff" * 16)
    pair.advance(30)
    assert pair.got[pair.b.public][-1] == b"\xff" * 16
    for packets in pair.got.values():
        assert len(packets) == len(set(packets))
        assert len(packets) > 40
