"""The handshake against the vectors of the spec, and its refusals."""

import json
from pathlib import Path

import pytest

from appliance.crypto.x25519 import clamp, public_key
from appliance.proto.noise.frames import encode_error
from appliance.proto.noise.handshake import Initiator, Responder
from appliance.proto.noise.records import RecordReader, RecordWriter
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.keys import MachinePrivateKey

VECTORS = json.loads((Path(__file__).parents[4] / "vectors" / "noise" / "control_ik.json").read_text(encoding="utf-8"))


def seed(name: str) -> bytes:
    start = VECTORS[name + "_seed_start"]
    return bytes(range(start, start + 32))


MACHINE = MachinePrivateKey(clamp(seed("machine")))
SERVER = MachinePrivateKey(clamp(seed("server")))


def make_initiator(version: int = 130, server: MachinePrivateKey = SERVER) -> Initiator:
    return Initiator(MACHINE, public_key(server), version=version, ephemeral_seed=seed("client_ephemeral"))


def make_responder() -> Responder:
    return Responder(SERVER, ephemeral_seed=seed("server_ephemeral"))


def test_ok__initiation_is_the_vector() -> None:
    assert public_key(MACHINE).raw.hex() == VECTORS["machine_public"]
    assert make_initiator().initiation().hex() == VECTORS["initiation"]


def test_ok__both_sides_reach_the_vector() -> None:
    initiator = make_initiator()
    server_session, response = make_responder().receive_initiation(initiator.initiation())
    assert response.hex() == VECTORS["response"]
    result = initiator.receive_response(response + b"rest")
    assert result is not None
    client_session, size = result
    assert size == 51
    assert client_session.handshake_hash == server_session.handshake_hash
    assert client_session.handshake_hash.hex() == VECTORS["handshake_hash"]
    assert server_session.peer == public_key(MACHINE)
    assert server_session.version == 130
    assert server_session.reader.receive_data(client_session.writer.seal(b"up")) == b"up"
    assert client_session.reader.receive_data(server_session.writer.seal(b"down")) == b"down"


@pytest.mark.parametrize("record", VECTORS["records"], ids=lambda r: f"{r['direction']}-{r['counter']}")
def test_ok__records_are_the_vectors(record: dict) -> None:
    key = bytes.fromhex(VECTORS[record["direction"] + "_key"])
    plaintext = record["plaintext"].encode()
    assert RecordWriter(key, record["counter"]).seal(plaintext).hex() == record["record"]
    assert RecordReader(key, record["counter"]).receive_data(bytes.fromhex(record["record"])) == plaintext


def test_ok__error_frame_is_the_vector() -> None:
    assert encode_error(VECTORS["error_text"]).hex() == VECTORS["error_frame"]


def test_ok__response_may_arrive_byte_by_byte() -> None:
    response = bytes.fromhex(VECTORS["response"])
    initiator = make_initiator()
    for size in range(len(response)):
        assert initiator.receive_response(response[:size]) is None
    assert initiator.receive_response(response) is not None


def test_fail__version_is_bound_by_the_prologue() -> None:
    forged = bytearray(make_initiator().initiation())
    forged[1] ^= 1
    with pytest.raises(DecodeError) as caught:
        make_responder().receive_initiation(bytes(forged))
    assert caught.value.reason is DecodeReason.BAD_CIPHERTEXT


def test_fail__wrong_server_key() -> None:
    other = MachinePrivateKey(clamp(bytes(range(7, 39))))
    with pytest.raises(DecodeError) as caught:
        make_responder().receive_initiation(make_initiator(server=other).initiation())
    assert caught.value.reason is DecodeReason.BAD_CIPHERTEXT


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", DecodeReason.BAD_LENGTH),
        (bytes(100), DecodeReason.BAD_LENGTH),
        (b"\0\x82\x02\0\x60" + bytes(96), DecodeReason.BAD_TYPE),
        (b"\0\x82\x01\0\x61" + bytes(96), DecodeReason.BAD_LENGTH),
        (b"\0\x82\x01\0\x60" + bytes(96), DecodeReason.BAD_KEY),
    ],
)
def test_fail__malformed_initiation(data: bytes, reason: DecodeReason) -> None:
    with pytest.raises(DecodeError) as caught:
        make_responder().receive_initiation(data)
    assert caught.value.reason is reason


def test_fail__error_frame_carries_the_servers_hint() -> None:
    with pytest.raises(DecodeError, match="oops"):
        make_initiator().receive_response(encode_error("oops"))


def test_fail__response_of_another_handshake() -> None:
    response = bytearray(bytes.fromhex(VECTORS["response"]))
    response[-1] ^= 1
    with pytest.raises(DecodeError):
        make_initiator().receive_response(bytes(response))


def test_ok__sessions_show_no_secrets() -> None:
    session, _ = make_responder().receive_initiation(make_initiator().initiation())
    assert VECTORS["client_to_server_key"] not in repr(session)
