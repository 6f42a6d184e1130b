import json
from pathlib import Path

import pytest

from appliance.crypto.x25519 import public_key
from appliance.proto.wireguard.cookies import CookieChecker, CookieJar
from appliance.proto.wireguard.handshake import (
    INITIAL_CHAIN,
    INITIAL_HASH,
    LocalIdentity,
    RemoteIdentity,
    consume_response,
    create_initiation,
    create_response,
    open_static,
    open_timestamp,
)
from appliance.proto.wireguard.keypair import Keypair
from appliance.proto.wireguard.messages import (
    encode_initiation,
    encode_response,
    parse_initiation,
    parse_response,
)
from appliance.proto.wireguard.settings import Settings
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.keys import NodePrivateKey, NodePublicKey, PresharedKey

VECTOR = json.loads((Path(__file__).parents[4] / "vectors/wireguard/handshake.json").read_text())


def raw(name: str) -> bytes:
    return bytes.fromhex(VECTOR[name])


@pytest.fixture
def sides() -> tuple[RemoteIdentity, RemoteIdentity]:
    """The responder as the initiator sees it, and the other way round."""
    a, s = (NodePrivateKey(raw(name)) for name in ("initiator_static", "responder_static"))
    return RemoteIdentity(LocalIdentity(a), public_key(s)), RemoteIdentity(LocalIdentity(s), public_key(a))


def test_ok__constants() -> None:
    assert raw("initial_chain") == INITIAL_CHAIN
    assert raw("initial_hash") == INITIAL_HASH


def test_ok__vector(sides: tuple[RemoteIdentity, RemoteIdentity]) -> None:
    to_responder, to_initiator = sides
    jar = CookieJar(to_responder.public, Settings())
    message, state = create_initiation(
        to_responder, raw("initiator_ephemeral"), VECTOR["initiator_index"], raw("timestamp")
    )
    data = jar.add_macs(encode_initiation(message), 0.0)
    assert data == raw("initiation")

    opened = open_static(to_initiator.local, parse_initiation(data))
    assert opened.public == to_initiator.public
    seen = open_timestamp(to_initiator, opened)
    assert seen.timestamp == raw("timestamp")
    answer, responder_keys = create_response(to_initiator, seen, raw("responder_ephemeral"), VECTOR["responder_index"])
    reply = CookieJar(to_initiator.public, Settings()).add_macs(encode_response(answer), 0.0)
    assert reply == raw("response")

    keys = consume_response(to_responder, state, parse_response(reply))
    assert (keys.send, keys.receive) == (raw("key_to_responder"), raw("key_to_initiator"))
    assert (responder_keys.receive, responder_keys.send) == (keys.send, keys.receive)
    indices = (VECTOR["initiator_index"], VECTOR["responder_index"])
    keypair = Keypair(None, keys, indices, initiator=True, created=0.0, settings=Settings())  # type: ignore[arg-type]
    assert keypair.seal_one(b"", 0) == raw("first_keepalive")


def test_fail__other_preshared_key(sides: tuple[RemoteIdentity, RemoteIdentity]) -> None:
    to_responder, to_initiator = sides
    other = RemoteIdentity(to_initiator.local, to_initiator.public, PresharedKey(bytes(range(32))))
    message, state = create_initiation(to_responder, raw("initiator_ephemeral"), 1, raw("timestamp"))
    seen = open_timestamp(other, open_static(other.local, message))
    answer, _ = create_response(other, seen, raw("responder_ephemeral"), 2)
    with pytest.raises(DecodeError) as caught:
        consume_response(to_responder, state, answer)
    assert caught.value.reason is DecodeReason.BAD_CIPHERTEXT


def test_fail__low_order_peer_key(sides: tuple[RemoteIdentity, RemoteIdentity]) -> None:
    bad = RemoteIdentity(sides[0].local, NodePublicKey(bytes(32)))
    with pytest.raises(DecodeError):
        create_initiation(bad, raw("initiator_ephemeral"), 1, raw("timestamp"))


def test_fail__every_flipped_byte_is_refused(sides: tuple[RemoteIdentity, RemoteIdentity]) -> None:
    checker = CookieChecker(sides[1].local.public, Settings(), None)  # type: ignore[arg-type]
    data = raw("initiation")
    assert checker.mac1_ok(data)
    for at in range(132):
        assert not checker.mac1_ok(data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :])


def test_ok__secrets_are_not_shown(sides: tuple[RemoteIdentity, RemoteIdentity]) -> None:
    _, state = create_initiation(sides[0], raw("initiator_ephemeral"), 1, raw("timestamp"))
    assert repr(state) == "InitiatorState()"
