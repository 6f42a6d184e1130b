"""DERP frames against the vectors of derp-stun-netcheck spec 13."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.proto.derp.frames import (
    MAX_PACKET,
    ClosePeer,
    ForwardPacket,
    Frame,
    FrameType,
    Health,
    KeepAlive,
    NotePreferred,
    PeerGone,
    PeerGoneReason,
    PeerPresent,
    Ping,
    Pong,
    PresentFlags,
    RecvPacket,
    Restarting,
    SendPacket,
    ServerKey,
    WatchConns,
    encode_frame,
    parse_frame,
    send_packet_bytes,
)
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.keys import DerpPublicKey, NodePublicKey

VECTORS = json.loads((Path(__file__).parents[4] / "vectors/derp/frames.json").read_text(encoding="utf-8"))
CLIENT = NodePublicKey(bytes.fromhex(VECTORS["client_public"]))
SERVER = bytes.fromhex(VECTORS["server_public"])
CASES: list[tuple[str, Frame]] = [
    ("server_key", ServerKey(DerpPublicKey(SERVER))),
    ("send_packet_hello", SendPacket(NodePublicKey(SERVER), b"hello")),
    ("keep_alive", KeepAlive()),
    ("note_preferred", NotePreferred(True)),
    ("watch_conns", WatchConns()),
    ("peer_gone_not_here", PeerGone(CLIENT, PeerGoneReason.NOT_HERE)),
    ("peer_present", PeerPresent(CLIENT, AddrPort("192.0.2.7", 51820), PresentFlags.REGULAR)),
    ("ping", Ping(bytes(range(1, 9)))),
    ("health_bad", Health("BAD")),
    ("restarting", Restarting(1500, 5000)),
]
UNVECTORED: list[Frame] = [
    RecvPacket(CLIENT, b"x"),
    ForwardPacket(CLIENT, NodePublicKey(SERVER), b""),
    ClosePeer(CLIENT),
    Pong(b"12345678"),
    NotePreferred(False),
    PeerPresent(CLIENT),
]


@pytest.mark.parametrize(("name", "frame"), CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_ok__vector(name: str, frame: Frame) -> None:
    data = bytes.fromhex(VECTORS[name])
    assert encode_frame(frame) == data
    assert parse_frame(data[0], data[5:]) == frame


@pytest.mark.parametrize("frame", UNVECTORED, ids=lambda f: type(f).__name__)
def test_ok__round_trip(frame: Frame) -> None:
    data = encode_frame(frame)
    assert parse_frame(data[0], data[5:]) == frame


def test_ok__short_forms_of_old_servers() -> None:
    assert parse_frame(FrameType.PEER_GONE, CLIENT.raw) == PeerGone(CLIENT, 0)
    whole = encode_frame(PeerPresent(CLIENT, AddrPort("192.0.2.7", 1), 9))[5:]
    assert parse_frame(FrameType.PEER_PRESENT, whole[:50]) == PeerPresent(CLIENT, AddrPort("192.0.2.7", 1), 0)
    assert parse_frame(FrameType.SERVER_KEY, bytes.fromhex(VECTORS["server_key"])[5:] + b"future") == CASES[0][1]


@pytest.mark.parametrize(
    ("kind", "payload", "reason"),
    [
        (FrameType.SERVER_KEY, bytes(40), DecodeReason.BAD_MAGIC),
        (FrameType.SERVER_KEY, bytes(39), DecodeReason.TOO_SHORT),
        (FrameType.NOTE_PREFERRED, b"", DecodeReason.TOO_SHORT),
        (FrameType.NOTE_PREFERRED, b"\x01\x01", DecodeReason.TOO_LONG),
        (FrameType.SEND_PACKET, bytes(31), DecodeReason.TOO_SHORT),
        (FrameType.SEND_PACKET, bytes(32 + MAX_PACKET + 1), DecodeReason.TOO_LONG),
        (FrameType.PING, bytes(7), DecodeReason.TOO_SHORT),
        (FrameType.PING, bytes(1001), DecodeReason.TOO_LONG),
        (FrameType.WATCH_CONNS, b"x", DecodeReason.TOO_LONG),
        (0x77, b"", DecodeReason.BAD_TYPE),
    ],
)
def test_fail__refused(kind: int, payload: bytes, reason: DecodeReason) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_frame(kind, payload)
    assert caught.value.reason is reason


def test_fail__packet_too_large_to_send() -> None:
    send_packet_bytes(CLIENT, bytes(MAX_PACKET))
    with pytest.raises(ValueError, match="65536"):
        send_packet_bytes(CLIENT, bytes(MAX_PACKET + 1))
