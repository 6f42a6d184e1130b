"""Client and server machines of DERP against each other (derp spec 1 and 3.5)."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

import pytest

from appliance.crypto.certificates import bare_certificate
from appliance.crypto.x25519 import public_key
from appliance.proto.derp.client import (
    ClientState,
    Closed,
    Connected,
    DerpClient,
    HealthReported,
    PacketsReceived,
    PeerLeft,
    PongReceived,
    ServerRestarting,
)
from appliance.proto.derp.frames import (
    Frame,
    FrameType,
    Health,
    KeepAlive,
    NotePreferred,
    PeerGone,
    PeerGoneReason,
    Ping,
    Pong,
    RecvPacket,
    Restarting,
    encode_frame,
)
from appliance.proto.derp.handshake import ServerInfo
from appliance.proto.derp.parser import FrameParser, RawFrame
from appliance.proto.derp.server import HandshakeState, ServerHandshake
from appliance.proto.derp.upgrade import (
    UpgradeKind,
    meta_key,
    upgrade_kind,
    upgrade_response,
    wants_fast_start,
)
from appliance.proto.http1.head import parse_request_head
from appliance.types.errors import DecodeReason
from appliance.types.keys import DerpPrivateKey, NodePrivateKey, NodePublicKey

NODE = NodePrivateKey(b"\x10" * 32)
SERVER = DerpPrivateKey(b"\x20" * 32)
PLAIN = ServerInfo()
PEER = NodePublicKey(b"\x33" * 32)


def connect(info: ServerInfo = PLAIN, *, fast: bool = False) -> tuple[DerpClient, FrameParser]:
    """A client in state OPEN and the parser that reads what it sends."""
    client = DerpClient(NODE, "derp.example", bytes(24), 0.0, server=public_key(SERVER) if fast else None)
    sent = client.data_to_send(0.0)
    found = parse_request_head(sent)
    assert found is not None
    head, size = found
    assert upgrade_kind(head) is UpgradeKind.DERP
    assert wants_fast_start(head) is fast
    server = ServerHandshake(SERVER, 0.0, answer_upgrade=not fast)
    hello = server.receive_data(sent[size:]) if fast else None
    client.receive_data(server.data_to_send(), 0.0)
    if not fast:
        hello = server.receive_data(client.data_to_send(0.0))
    assert hello is not None
    assert hello.key == public_key(NODE)
    answer, parser, early = server.accept(bytes(24), info)
    assert early == []
    client.receive_data(answer, 0.0)
    assert client.next_event() == Connected(public_key(SERVER), info)
    assert client.state is ClientState.OPEN
    return client, parser


def frames_of(client: DerpClient, parser: FrameParser, now: float = 0.0) -> list[RawFrame]:
    return parser.feed(client.data_to_send(now))


@pytest.mark.parametrize("fast", [False, True], ids=["normal", "fast"])
def test_ok__handshake(fast: bool) -> None:
    client, parser = connect(fast=fast)
    client.note_preferred(True)
    client.send_packets(PEER, [b"one", b"two"], 0.0)
    assert [kind for kind, _ in frames_of(client, parser)] == [7, 4, 4]
    assert client.data_to_send(0.0) == b""


def test_ok__handshake_byte_by_byte() -> None:
    client = DerpClient(NODE, "derp.example", bytes(24), 0.0)
    client.data_to_send(0.0)
    server = ServerHandshake(SERVER, 0.0, answer_upgrade=True)
    for value in server.data_to_send():
        client.receive_data(bytes((value,)), 0.0)
    assert client.state is ClientState.AWAIT_INFO
    hellos = [server.receive_data(bytes((value,))) for value in client.data_to_send(0.0)]
    assert hellos[-1] is not None
    assert not any(hellos[:-1])


def test_ok__frames_sent_before_admission_are_kept() -> None:
    client = DerpClient(NODE, "derp.example", bytes(24), 0.0, server=public_key(SERVER))
    client.note_preferred(True)
    sent = client.data_to_send(0.0)
    server = ServerHandshake(SERVER, 0.0, answer_upgrade=False)
    assert server.receive_data(sent[sent.index(b"\r\n\r\n") + 4 :]) is not None
    server.receive_data(encode_frame(Ping(b"12345678")))
    assert server.accept(bytes(24), ServerInfo())[2] == [(7, b"\x01"), (0x12, b"12345678")]


def test_ok__events() -> None:
    client, parser = connect()
    frames: list[Frame] = [
        KeepAlive(),
        RecvPacket(PEER, b"a"),
        RecvPacket(PEER, b"b"),
        RecvPacket(public_key(NODE), b"c"),
        PeerGone(PEER, PeerGoneReason.NOT_HERE),
        PeerGone(PEER, 77),
        Ping(b"12345678"),
        Pong(b"87654321"),
        Health("trouble"),
        Restarting(1, 2),
        NotePreferred(True),
    ]
    client.receive_data(b"".join(map(encode_frame, frames)), 1.0)
    events = [client.next_event() for _ in range(8)]
    assert events == [
        PacketsReceived(PEER, (b"a", b"b")),
        PacketsReceived(public_key(NODE), (b"c",)),
        PeerLeft(PEER, True),
        PeerLeft(PEER, False),
        PongReceived(b"87654321"),
        HealthReported("trouble"),
        ServerRestarting(1, 2),
        None,
    ]
    assert frames_of(client, parser) == [(FrameType.PONG, b"12345678")]


def test_ok__watchdog_is_armed_by_each_frame() -> None:
    client, _ = connect()
    client.receive_data(encode_frame(KeepAlive()), 60.0)
    assert client.next_timer() == 180.0
    client.handle_timer(179.0)
    assert client.next_event() is None
    client.handle_timer(180.0)
    assert client.next_event() == Closed("no frame for 120 s")
    assert client.next_timer() is None


def test_ok__rate_of_the_server_is_kept() -> None:
    client, parser = connect(ServerInfo(2, 100, 200))
    client.send_packets(PEER, [bytes(63)] * 3, 0.0)
    assert len(frames_of(client, parser)) == 2
    assert client.rate_dropped == 1
    client.send_packets(PEER, [bytes(63)] * 2, 1.0)
    assert len(frames_of(client, parser, 1.0)) == 1


def test_ok__meta_certificate() -> None:
    key, start, end = public_key(SERVER), datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)

    def made(name: str, serial: int) -> bytes:
        return ssl.PEM_cert_to_DER_cert(bare_certificate(name, serial, start, end, bytes(48)).decode())

    name = f"derpkey{key.raw.hex()}"
    assert meta_key(made(name, 2)) == key
    assert meta_key(made(name, 0x0202)) is None
    assert meta_key(made(name[:-1], 2)) is None
    assert meta_key(made("derp.example.com", 2)) is None
    assert meta_key(b"") is None


def test_fail__no_handshake_in_time() -> None:
    client = DerpClient(NODE, "derp.example", bytes(24), 5.0)
    assert client.next_timer() == 15.0
    client.handle_timer(15.0)
    assert client.next_event() == Closed("no DERP handshake within 10 s")
    server = ServerHandshake(SERVER, 5.0, answer_upgrade=True)
    server.handle_timer(15.0)
    assert server.state is HandshakeState.FAILED


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 426 Upgrade Required\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"x" * 9000,
        b"",
        upgrade_response(public_key(SERVER)) + b"\x01\x00\x00\x00\x28" + bytes(40),
        upgrade_response(public_key(SERVER)) + b"\x01\x00\x00\x00\x01",
    ],
    ids=["426", "not-http", "too-long", "end", "bad-magic", "bad-length"],
)
def test_fail__client_closes_once(answer: bytes) -> None:
    client = DerpClient(NODE, "derp.example", bytes(24), 0.0)
    client.receive_data(answer, 0.0)
    assert client.state is ClientState.CLOSED
    assert isinstance(client.next_event(), Closed)
    client.receive_data(b"more", 0.0)
    assert client.next_event() is None


def test_fail__old_server() -> None:
    client = DerpClient(NODE, "derp.example", bytes(24), 0.0, server=public_key(SERVER))
    sent = client.data_to_send(0.0)
    server = ServerHandshake(SERVER, 0.0, answer_upgrade=False)
    server.receive_data(sent[sent.index(b"\r\n\r\n") + 4 :])
    client.receive_data(server.accept(bytes(24), ServerInfo(version=1))[0], 0.0)
    assert client.next_event() == Closed("the server speaks DERP version 1, too old")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (encode_frame(KeepAlive()), DecodeReason.UNEXPECTED),
        (b"\x02\x00\x00\x00\x37" + bytes(55), DecodeReason.TOO_SHORT),
        (b"\x02\x00\x04\x00\x01", DecodeReason.TOO_LONG),
        (b"\x02\x00\x00\x00\x60" + bytes(96), DecodeReason.BAD_KEY),
        (b"\x02\x00\x00\x00\x60" + b"\x09" * 96, DecodeReason.BAD_CIPHERTEXT),
    ],
)
def test_fail__server_refuses(data: bytes, reason: DecodeReason) -> None:
    server = ServerHandshake(SERVER, 0.0, answer_upgrade=True)
    assert server.receive_data(data) is None
    assert server.state is HandshakeState.FAILED
    assert server.error is not None
    assert server.error.reason is reason
    assert server.receive_data(data) is None
