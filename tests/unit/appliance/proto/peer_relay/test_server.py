"""Allocation, the bind handshake and its abuses, expiry and limits (magicsock-disco spec 5.2 to 5.4)."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from appliance.crypto.x25519 import clamp, public_key
from appliance.proto.disco import BindRelayEndpoint, BindRelayEndpointAnswer, Ping
from appliance.proto.geneve import MAX_VNI, PROTOCOL_DISCO, GeneveHeader, encode_header
from appliance.proto.peer_relay import Refusal, RelayServer, Session
from appliance.proto.peer_relay.server import EXPIRY_INTERVAL_S
from appliance.types.addresses import AddrPort, parse_addr_port
from appliance.types.keys import DiscoPrivateKey, DiscoPublicKey

ELSEWHERE = AddrPort("198.51.100.9", 9)


def key(number):
    return public_key(DiscoPrivateKey(clamp(bytes([number]) * 32)))


def test_ok__a_pair_has_one_session_whoever_asks(relay_rig):
    session = relay_rig.allocate("n1")
    again = relay_rig.server.allocate("n2", (relay_rig.a.keys.public, relay_rig.b.keys.public), relay_rig.now + 9)
    assert again is session
    assert (session.vni, session.lamport_id) == (1, 1)
    assert list(session.clients) == sorted(session.clients)


def test_ok__numbers_run_on_wrap_and_skip_used_ones(relay_rig):
    relay_rig.allocate()
    relay_rig.server._last_vni = MAX_VNI
    session = relay_rig.server.allocate("n3", (key(7), key(8)), relay_rig.now)
    assert session.vni == 2, "0 is none, and 1 is in use"
    assert session.lamport_id == 2


def test_ok__both_bind_and_packets_go_across(relay_rig):
    session = relay_rig.allocate()
    relay_rig.a.bind(session, relay_rig.b, relay_rig.now)
    assert not session.is_open
    assert session.toward(relay_rig.a.address, relay_rig.now) is None, "nothing moves before both are bound"
    relay_rig.b.bind(session, relay_rig.a, relay_rig.now)
    assert session.is_open
    assert session.toward(relay_rig.a.address, relay_rig.now) == relay_rig.b.address
    assert session.toward(relay_rig.b.address, relay_rig.now) == relay_rig.a.address
    assert session.toward(ELSEWHERE, relay_rig.now) is None


def test_ok__a_client_that_moved_binds_anew_and_only_its_new_address_counts(relay_rig):
    session = relay_rig.bound()
    before, relay_rig.a.address = relay_rig.a.address, ELSEWHERE
    relay_rig.a.generation += 10
    relay_rig.a.bind(session, relay_rig.b, relay_rig.now + 5)
    assert session.toward(before, relay_rig.now + 5) is None
    assert (relay_rig.server.is_bound(before), relay_rig.server.is_bound(ELSEWHERE)) == (False, True)
    assert session.toward(relay_rig.b.address, relay_rig.now + 5) == ELSEWHERE


def test_fail__a_challenge_counts_for_its_address_only(relay_rig):
    session = relay_rig.allocate()
    challenge = relay_rig.a.ask(session, relay_rig.b, relay_rig.now)
    relay_rig.a.address = ELSEWHERE
    relay_rig.a.answer(session, relay_rig.b, challenge.challenge, relay_rig.now)
    assert session.leg_of(relay_rig.a.keys.public)[0].bound is None
    assert relay_rig.server.counters["dropped_wrong_answer"] == 1


def test_fail__an_answer_is_good_once_and_for_its_generation_only(relay_rig):
    session = relay_rig.allocate()
    challenge = relay_rig.a.ask(session, relay_rig.b, relay_rig.now)
    relay_rig.a.answer(session, relay_rig.b, challenge.challenge, relay_rig.now)
    relay_rig.a.answer(session, relay_rig.b, challenge.challenge, relay_rig.now)
    relay_rig.a.generation = 77
    relay_rig.a.answer(session, relay_rig.b, challenge.challenge, relay_rig.now)
    assert relay_rig.server.counters["bound"] == 1
    assert relay_rig.server.counters["dropped_old_answer"] == 2


def test_fail__strangers_wrong_numbers_and_other_messages_get_no_answer(relay_rig):
    session, server = relay_rig.allocate(), relay_rig.server
    stranger = type(relay_rig.a)(9, ELSEWHERE, server)
    good = relay_rig.a.packet(BindRelayEndpoint, session.vni, relay_rig.b.keys.public)
    header = encode_header(GeneveHeader(PROTOCOL_DISCO, session.vni, control=True))
    ping = header + relay_rig.a.keys.seal(server.public_key, Ping(b"x" * 12, None, 99), bytes(24))
    tries = {
        "unknown_vni": (9, good),
        "short_handshake": (session.vni, good[:-1]),
        "unknown_sender": (session.vni, stranger.packet(BindRelayEndpoint, session.vni, relay_rig.b.keys.public)),
        "not_a_handshake": (session.vni, ping),
        "handshake_bad_tag": (session.vni, good[:-1] + bytes([good[-1] ^ 1])),
    }
    for reason, (vni, packet) in tries.items():
        assert server.receive_handshake(vni, packet, relay_rig.a.address, relay_rig.now) is None, reason
    dropped = {name.removeprefix("dropped_") for name in server.counters if name.startswith("dropped_")}
    assert dropped >= set(tries) - {"handshake_bad_tag"}
    assert len(dropped) == len(tries)
    assert not any(leg.generation for leg in session.legs)


@pytest.mark.parametrize("wrong", ["remote", "inner number", "generation"])
def test_fail__a_message_that_disagrees_with_its_session(relay_rig, wrong):
    session = relay_rig.allocate()
    remote = relay_rig.a.keys.public if wrong == "remote" else relay_rig.b.keys.public
    message = BindRelayEndpoint(
        session.vni + (wrong == "inner number"), 0 if wrong == "generation" else 5, remote, bytes(32)
    )
    header = encode_header(GeneveHeader(PROTOCOL_DISCO, session.vni, control=True))
    packet = header + relay_rig.a.keys.seal(relay_rig.server.public_key, message, bytes(24))
    assert relay_rig.server.receive_handshake(session.vni, packet, relay_rig.a.address, relay_rig.now) is None
    assert relay_rig.server.counters["dropped_wrong_handshake"] == 1


def test_fail__a_flood_of_handshakes_is_cut_and_the_bound_pair_goes_on(relay_rig):
    session = relay_rig.bound()
    packet = relay_rig.a.packet(BindRelayEndpointAnswer, session.vni, relay_rig.b.keys.public)
    for _ in range(200):
        relay_rig.server.receive_handshake(session.vni, packet, ELSEWHERE, relay_rig.now)
    assert relay_rig.server.counters["dropped_handshake_flood"] > 100
    assert session.toward(relay_rig.a.address, relay_rig.now) == relay_rig.b.address


def test_ok__what_nobody_bound_ends_soon_and_what_is_silent_later(relay_rig):
    server, session = relay_rig.server, relay_rig.bound()
    lone = server.allocate("n2", (key(7), key(8)), relay_rig.now)
    assert server.next_timer() == relay_rig.now + EXPIRY_INTERVAL_S
    server.handle_timer(relay_rig.now + 60)
    assert server.session(lone.vni) is None
    session.toward(relay_rig.a.address, relay_rig.now + 299)
    server.handle_timer(relay_rig.now + 299)
    assert server.session(session.vni) is session
    server.handle_timer(relay_rig.now + 331)
    assert server.session(session.vni) is None, "one silent side is enough"
    assert server.next_timer() is None
    assert server.owners() == frozenset()
    assert not server.is_bound(relay_rig.a.address)


def test_fail__limits_and_bad_keys(relay_rig):
    server, now = relay_rig.server, relay_rig.now
    assert server.allocate("n1", (server.public_key, key(7)), now) is Refusal.OWN_KEY
    assert server.allocate("n1", (key(7), key(7)), now) is Refusal.SAME_KEY
    assert server.allocate("n1", (DiscoPublicKey(bytes(32)), key(7)), now) is Refusal.LOW_ORDER_KEY
    for number in (10, 11):
        assert isinstance(server.allocate("n1", (key(7), key(number)), now), Session)
    assert server.allocate("n1", (key(7), key(12)), now) is Refusal.TOO_MANY
    for number in (13, 14):
        assert isinstance(server.allocate("n2", (key(7), key(number)), now), Session)
    assert server.allocate("n3", (key(7), key(15)), now) is Refusal.FULL
    assert server.close_owned("n1") == 2
    assert len(server) == 2
    assert isinstance(server.allocate("n3", (key(7), key(15)), now), Session)


def test_ok__the_handshake_of_the_vectors():
    """A server with the vectors' key and secret answers byte for byte, and binds."""
    vectors = json.loads((Path(__file__).parents[4] / "vectors/peer_relay/handshake.json").read_text())
    drawn = [bytes.fromhex(vectors[name]) for name in ("server_private", "secret", "nonce")]
    server = RelayServer(SimpleNamespace(bytes=lambda size: drawn.pop(0)[:size]))
    assert server.public_key.raw.hex() == vectors["server_public"]
    client = public_key(DiscoPrivateKey(bytes.fromhex(vectors["client_private"])))
    remote = DiscoPublicKey(bytes.fromhex(vectors["remote_public"]))
    server._last_vni = vectors["vni"] - 1
    session = server.allocate("n1", (remote, client), 0.0)
    source = parse_addr_port(vectors["client_address"])
    reply = server.receive_handshake(session.vni, bytes.fromhex(vectors["bind"]), source, 0.0)
    assert reply.hex() == vectors["challenge_packet"]
    assert server.receive_handshake(session.vni, bytes.fromhex(vectors["answer"]), source, 0.0) is None
    assert session.leg_of(client)[0].bound == source
