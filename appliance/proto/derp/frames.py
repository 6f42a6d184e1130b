"""DERP frames: types, values, encoding (derp spec section 2). Big-endian.

| Offset | Length | Field |
|---|---|---|
| 0 | 1 | type |
| 1 | 4 | payload length n, without this header |
| 5 | n | payload |
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from appliance.types.addresses import AddrPort, encode_mapped, parse_mapped
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.keys import DerpPublicKey, NodePublicKey

PROTOCOL_VERSION = 2
HEADER_SIZE = 5
KEY_SIZE = 32
NONCE_SIZE = 24
PING_SIZE = 8
MAX_PACKET = 65536
MAX_CLIENT_INFO = 262_144
MIN_CLIENT_INFO = KEY_SIZE + NONCE_SIZE
SERVER_KEY_MAGIC = b"DERP\xf0\x9f\x94\x91"

HEADER = struct.Struct(">BI")
_RESTARTING = struct.Struct(">II")


class FrameType(IntEnum):
    SERVER_KEY = 0x01
    CLIENT_INFO = 0x02
    SERVER_INFO = 0x03
    SEND_PACKET = 0x04
    RECV_PACKET = 0x05
    KEEP_ALIVE = 0x06
    NOTE_PREFERRED = 0x07
    PEER_GONE = 0x08
    PEER_PRESENT = 0x09
    FORWARD_PACKET = 0x0A
    WATCH_CONNS = 0x10
    CLOSE_PEER = 0x11
    PING = 0x12
    PONG = 0x13
    HEALTH = 0x14
    RESTARTING = 0x15


LIMITS: dict[int, tuple[int, int]] = {
    FrameType.SERVER_KEY: (40, 1024),
    FrameType.CLIENT_INFO: (MIN_CLIENT_INFO, MAX_CLIENT_INFO),
    FrameType.SERVER_INFO: (NONCE_SIZE, 65536),
    FrameType.SEND_PACKET: (KEY_SIZE, KEY_SIZE + MAX_PACKET),
    FrameType.RECV_PACKET: (KEY_SIZE, KEY_SIZE + MAX_PACKET),
    FrameType.KEEP_ALIVE: (0, 1024),
    FrameType.NOTE_PREFERRED: (1, 1),
    FrameType.PEER_GONE: (KEY_SIZE, 1024),
    FrameType.PEER_PRESENT: (KEY_SIZE, 1024),
    FrameType.FORWARD_PACKET: (2 * KEY_SIZE, 2 * KEY_SIZE + MAX_PACKET),
    FrameType.WATCH_CONNS: (0, 0),
    FrameType.CLOSE_PEER: (KEY_SIZE, KEY_SIZE),
    FrameType.PING: (PING_SIZE, 1000),
    FrameType.PONG: (PING_SIZE, 1000),
    FrameType.HEALTH: (0, 65536),
    FrameType.RESTARTING: (8, 1024),
}
"""Smallest and largest payload of the known types; anything else ends the connection (2.1, 2.2)."""

MAX_UNKNOWN = 1 << 20
"""Payloads of unknown types are discarded up to this size; beyond, the connection ends."""


class PeerGoneReason(IntEnum):
    DISCONNECTED = 0x00
    NOT_HERE = 0x01


class PresentFlags(IntFlag):
    REGULAR = 1
    MESH_PEER = 2
    PROBER = 4
    NOT_IDEAL = 8


@dataclass(frozen=True, slots=True)
class ServerKey:
    key: DerpPublicKey


@dataclass(frozen=True, slots=True)
class ClientInfoBox:
    """`sealed` is opened by `handshake.open_client_info`."""

    key: NodePublicKey
    nonce: bytes
    sealed: bytes


@dataclass(frozen=True, slots=True)
class ServerInfoBox:
    """`sealed` is opened by `handshake.open_server_info`."""

    nonce: bytes
    sealed: bytes


@dataclass(frozen=True, slots=True)
class SendPacket:
    destination: NodePublicKey
    packet: bytes


@dataclass(frozen=True, slots=True)
class RecvPacket:
    source: NodePublicKey
    packet: bytes


@dataclass(frozen=True, slots=True)
class ForwardPacket:
    source: NodePublicKey
    destination: NodePublicKey
    packet: bytes


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Server to client; no answer."""


@dataclass(frozen=True, slots=True)
class NotePreferred:
    """Whether this region is the sender's home."""

    preferred: bool


@dataclass(frozen=True, slots=True)
class PeerGone:
    """`reason` is a `PeerGoneReason` or a number that we do not know."""

    peer: NodePublicKey
    reason: int = PeerGoneReason.DISCONNECTED


@dataclass(frozen=True, slots=True)
class PeerPresent:
    """To mesh watchers. `address` None and `flags` (`PresentFlags`) 0 when an old server did not say."""

    peer: NodePublicKey
    address: AddrPort | None = None
    flags: int = 0


@dataclass(frozen=True, slots=True)
class WatchConns:
    """From a mesh peer: tell all connections."""


@dataclass(frozen=True, slots=True)
class ClosePeer:
    peer: NodePublicKey


@dataclass(frozen=True, slots=True)
class Ping:
    """8 opaque bytes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """The 8 bytes of the ping."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Health:
    """A problem in words; empty = healthy again."""

    problem: str


@dataclass(frozen=True, slots=True)
class Restarting:
    reconnect_in_ms: int
    try_for_ms: int


Frame = (
    ServerKey
    | ClientInfoBox
    | ServerInfoBox
    | SendPacket
    | RecvPacket
    | ForwardPacket
    | KeepAlive
    | NotePreferred
    | PeerGone
    | PeerPresent
    | WatchConns
    | ClosePeer
    | Ping
    | Pong
    | Health
    | Restarting
)


def frame_bytes(kind: FrameType, payload: bytes) -> bytes:
    """A whole frame from its type and payload."""
    return HEADER.pack(kind, len(payload)) + payload


def send_packet_bytes(destination: NodePublicKey, packet: bytes) -> bytes:
    """SendPacket without the detour of a value: it is made once per packet. `ValueError` above `MAX_PACKET`."""
    if len(packet) > MAX_PACKET:
        raise ValueError("a DERP packet is at most 65536 bytes")
    return HEADER.pack(FrameType.SEND_PACKET, KEY_SIZE + len(packet)) + destination.raw + packet


def _present_payload(frame: PeerPresent) -> bytes:
    if frame.address is None:
        return frame.peer.raw
    return frame.peer.raw + encode_mapped(frame.address) + bytes((frame.flags,))


def encode_frame(frame: Frame) -> bytes:
    """A whole frame, header included."""
    match frame:
        case ServerKey(key):
            return frame_bytes(FrameType.SERVER_KEY, SERVER_KEY_MAGIC + key.raw)
        case ClientInfoBox(node_key, nonce, sealed):
            return frame_bytes(FrameType.CLIENT_INFO, node_key.raw + nonce + sealed)
        case ServerInfoBox(nonce, sealed):
            return frame_bytes(FrameType.SERVER_INFO, nonce + sealed)
        case SendPacket(destination, packet):
            return send_packet_bytes(destination, packet)
        case RecvPacket(source, packet):
            return frame_bytes(FrameType.RECV_PACKET, source.raw + packet)
        case ForwardPacket(source, destination, packet):
            return frame_bytes(FrameType.FORWARD_PACKET, source.raw + destination.raw + packet)
        case KeepAlive():
            return frame_bytes(FrameType.KEEP_ALIVE, b"")
        case NotePreferred(preferred):
            return frame_bytes(FrameType.NOTE_PREFERRED, b"\x01" if preferred else b"\x00")
        case PeerGone(peer, reason):
            return frame_bytes(FrameType.PEER_GONE, peer.raw + bytes((reason,)))
        case PeerPresent():
            return frame_bytes(FrameType.PEER_PRESENT, _present_payload(frame))
        case WatchConns():
            return frame_bytes(FrameType.WATCH_CONNS, b"")
        case ClosePeer(peer):
            return frame_bytes(FrameType.CLOSE_PEER, peer.raw)
        case Ping(data):
            return frame_bytes(FrameType.PING, data)
        case Pong(data):
            return frame_bytes(FrameType.PONG, data)
        case Health(problem):
            return frame_bytes(FrameType.HEALTH, problem.encode())
        case Restarting(reconnect_in_ms, try_for_ms):
            return frame_bytes(FrameType.RESTARTING, _RESTARTING.pack(reconnect_in_ms, try_for_ms))


def _parse_server_key(payload: bytes) -> ServerKey:
    if payload[:8] != SERVER_KEY_MAGIC:
        raise DecodeError(DecodeReason.BAD_MAGIC, "DERP server key")
    return ServerKey(DerpPublicKey(payload[8:40]))


def _parse_present(payload: bytes) -> PeerPresent:
    peer = NodePublicKey(payload[:32])
    if len(payload) < 50:
        return PeerPresent(peer)
    address = parse_mapped(payload, 32)
    return PeerPresent(peer, address, payload[50] if len(payload) > 50 else 0)


def _parse_health(payload: bytes) -> Health:
    return Health(payload.decode("utf-8", "replace"))


_PARSERS: dict[int, Callable[[bytes], Frame]] = {
    FrameType.SERVER_KEY: _parse_server_key,
    FrameType.CLIENT_INFO: lambda data: ClientInfoBox(NodePublicKey(data[:32]), data[32:56], data[56:]),
    FrameType.SERVER_INFO: lambda data: ServerInfoBox(data[:24], data[24:]),
    FrameType.SEND_PACKET: lambda data: SendPacket(NodePublicKey(data[:32]), data[32:]),
    FrameType.RECV_PACKET: lambda data: RecvPacket(NodePublicKey(data[:32]), data[32:]),
    FrameType.KEEP_ALIVE: lambda _: KeepAlive(),
    FrameType.NOTE_PREFERRED: lambda data: NotePreferred(data[0] != 0),
    FrameType.PEER_GONE: lambda data: PeerGone(NodePublicKey(data[:32]), data[32] if len(data) > 32 else 0),
    FrameType.PEER_PRESENT: _parse_present,
    FrameType.FORWARD_PACKET: lambda data: ForwardPacket(
        NodePublicKey(data[:32]), NodePublicKey(data[32:64]), data[64:]
    ),
    FrameType.WATCH_CONNS: lambda _: WatchConns(),
    FrameType.CLOSE_PEER: lambda data: ClosePeer(NodePublicKey(data)),
    FrameType.PING: lambda data: Ping(data[:PING_SIZE]),
    FrameType.PONG: lambda data: Pong(data[:PING_SIZE]),
    FrameType.HEALTH: _parse_health,
    FrameType.RESTARTING: lambda data: Restarting(*_RESTARTING.unpack_from(data)),
}


def check_length(kind: int, size: int) -> None:
    """Raise `DecodeError` when a payload of `size` bytes is not allowed for the type."""
    low, high = LIMITS.get(kind, (0, MAX_UNKNOWN))
    if size < low:
        raise DecodeError(DecodeReason.TOO_SHORT, f"DERP frame 0x{kind:02x}")
    if size > high:
        raise DecodeError(DecodeReason.TOO_LONG, f"DERP frame 0x{kind:02x}")


def parse_frame(kind: int, payload: bytes) -> Frame:
    """The value of one frame. Raises `DecodeError`; unknown types (BAD_TYPE) never leave `FrameParser`."""
    parser = _PARSERS.get(kind)
    if parser is None:
        raise DecodeError(DecodeReason.BAD_TYPE, "DERP frame")
    check_length(kind, len(payload))
    return parser(payload)
