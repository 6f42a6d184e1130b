"""ClientInfo and ServerInfo boxes and JSON (derp spec 2.3 and 13)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.proto.derp.frames import encode_frame, parse_frame
from appliance.proto.derp.handshake import (
    ClientInfo,
    ServerInfo,
    encode_client_info,
    encode_server_info,
    open_client_info,
    open_server_info,
    parse_client_info,
    parse_server_info,
    seal_client_info,
    seal_server_info,
)
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.keys import DerpMeshKey, DerpPrivateKey, DerpPublicKey, NodePrivateKey, NodePublicKey

VECTORS = json.loads((Path(__file__).parents[4] / "vectors/derp/frames.json").read_text(encoding="utf-8"))
CLIENT = NodePrivateKey(bytes.fromhex(VECTORS["client_private"]))
SERVER = DerpPrivateKey(bytes.fromhex(VECTORS["server_private"]))
CLIENT_PUBLIC = NodePublicKey(bytes.fromhex(VECTORS["client_public"]))
SERVER_PUBLIC = DerpPublicKey(bytes.fromhex(VECTORS["server_public"]))
HEX = "0a" * 32


def test_ok__client_info_vector() -> None:
    vector = VECTORS["client_info"]
    assert encode_client_info(ClientInfo()).decode() == vector["json"]
    box = seal_client_info(CLIENT, SERVER_PUBLIC, ClientInfo(), bytes.fromhex(vector["nonce"]))
    frame = bytes.fromhex(vector["frame"])
    assert encode_frame(box) == frame
    assert parse_frame(frame[0], frame[5:]) == box
    assert box.key == CLIENT_PUBLIC
    assert open_client_info(SERVER, box) == ClientInfo()


def test_ok__server_info_vector() -> None:
    vector = VECTORS["server_info"]
    assert encode_server_info(ServerInfo()).decode() == vector["json"]
    box = seal_server_info(SERVER, CLIENT_PUBLIC, ServerInfo(), bytes.fromhex(vector["nonce"]))
    assert encode_frame(box).hex() == vector["frame"]
    assert open_server_info(CLIENT, SERVER_PUBLIC, box) == ServerInfo()


def test_ok__names_match_without_case_and_unknown_ones_are_ignored() -> None:
    assert parse_client_info(b"{}") == ClientInfo(version=0, can_ack_pings=False)
    both = parse_client_info(f'{{"Version":5,"MeshKey":"{HEX}"}}'.encode())
    assert (both.version, both.mesh_key) == (5, DerpMeshKey(b"\x0a" * 32))
    other = parse_client_info(b'{"can_ack_pings":true,"is_prober":false,"mesh_key":"none","version":2}')
    assert other == ClientInfo(can_ack_pings=False)


def test_ok__everything_round_trips() -> None:
    info = ClientInfo(2, DerpMeshKey(b"\x0a" * 32), True, True, "probe")
    assert parse_client_info(encode_client_info(info)) == info
    limits = ServerInfo(2, 1000, 70000)
    assert parse_server_info(encode_server_info(limits)) == limits


@pytest.mark.parametrize(
    "text",
    [
        b'{"meshKey":"abcdefg"}',
        b'{"meshKey":"' + b"0" * 68 + b'"}',
        b'{"meshKey":5}',
        b'{"version":-1}',
        b'{"version":1e400}',
        b'{"version":true}',
        b'{"CanAckPings":1}',
        b"[]",
        b"",
        b"\xff",
        b"[" * 100_000,
    ],
    ids=range(11),
)
def test_fail__client_info(text: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_client_info(text)


def test_fail__zero_key_and_foreign_box() -> None:
    box = seal_client_info(CLIENT, SERVER_PUBLIC, ClientInfo(), bytes(24))
    with pytest.raises(DecodeError) as caught:
        open_client_info(SERVER, type(box)(NodePublicKey.zero(), box.nonce, box.sealed))
    assert caught.value.reason is DecodeReason.BAD_KEY
    with pytest.raises(DecodeError) as caught:
        open_client_info(DerpPrivateKey(b"\x01" * 32), box)
    assert caught.value.reason is DecodeReason.BAD_CIPHERTEXT
