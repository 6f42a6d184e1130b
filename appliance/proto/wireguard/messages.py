"""The four WireGuard messages on the wire, little-endian (WireGuard paper 5.4, magicsock-disco spec 2.1)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from appliance.types.errors import DecodeError, DecodeReason

INITIATION = 1
RESPONSE = 2
COOKIE_REPLY = 3
TRANSPORT = 4

INITIATION_SIZE = 148
RESPONSE_SIZE = 92
COOKIE_REPLY_SIZE = 64
TRANSPORT_HEADER_SIZE = 16
TRANSPORT_OVERHEAD = 32
MAC_SIZE = 16

TRANSPORT_HEADER = struct.Struct("<IIQ")
_INITIATION = struct.Struct("<II32s48s28s16s16s")
_RESPONSE = struct.Struct("<III32s16s16s16s")
_COOKIE_REPLY = struct.Struct("<II24s32s")


@dataclass(frozen=True, slots=True)
class Initiation:
    """0:4 type 1; 4:4 sender index; 8:32 ephemeral; 40:48 static; 88:28 TAI64N; 116:16 mac1; 132:16 mac2."""

    sender_index: int
    ephemeral: bytes
    sealed_static: bytes
    sealed_timestamp: bytes
    mac1: bytes = bytes(MAC_SIZE)
    mac2: bytes = bytes(MAC_SIZE)


@dataclass(frozen=True, slots=True)
class Response:
    """0:4 type 2; 4:4 sender index; 8:4 receiver index; 12:32 ephemeral; 44:16 empty; 60:16 mac1; 76:16 mac2."""

    sender_index: int
    receiver_index: int
    ephemeral: bytes
    sealed_empty: bytes
    mac1: bytes = bytes(MAC_SIZE)
    mac2: bytes = bytes(MAC_SIZE)


@dataclass(frozen=True, slots=True)
class CookieReply:
    """0:4 type 3; 4:4 receiver index; 8:24 nonce; 32:32 sealed cookie."""

    receiver_index: int
    nonce: bytes
    sealed_cookie: bytes


@dataclass(frozen=True, slots=True)
class Transport:
    """0:4 type 4; 4:4 receiver index; 8:8 counter; 16: ciphertext and tag."""

    receiver_index: int
    counter: int
    sealed: bytes


Message = Initiation | Response | CookieReply | Transport


def message_type(data: bytes | bytearray | memoryview) -> int:
    """Type 1 to 4; raises `DecodeError` for anything that is not WireGuard."""
    if len(data) < 4:
        raise DecodeError(DecodeReason.TOO_SHORT, "WireGuard message")
    if not 1 <= data[0] <= 4 or data[1] or data[2] or data[3]:
        raise DecodeError(DecodeReason.BAD_TYPE, "WireGuard message")
    return data[0]


def _check(data: bytes, kind: int, size: int) -> None:
    if message_type(data) != kind:
        raise DecodeError(DecodeReason.BAD_TYPE, f"expected WireGuard type {kind}")
    if len(data) != size:
        raise DecodeError(DecodeReason.BAD_LENGTH, f"WireGuard type {kind} is {size} bytes, not {len(data)}")


def parse_initiation(data: bytes) -> Initiation:
    _check(data, INITIATION, INITIATION_SIZE)
    return Initiation(*_INITIATION.unpack(data)[1:])


def encode_initiation(message: Initiation) -> bytes:
    return _INITIATION.pack(
        INITIATION,
        message.sender_index,
        message.ephemeral,
        message.sealed_static,
        message.sealed_timestamp,
        message.mac1,
        message.mac2,
    )


def parse_response(data: bytes) -> Response:
    _check(data, RESPONSE, RESPONSE_SIZE)
    return Response(*_RESPONSE.unpack(data)[1:])


def encode_response(message: Response) -> bytes:
    return _RESPONSE.pack(
        RESPONSE,
        message.sender_index,
        message.receiver_index,
        message.ephemeral,
        message.sealed_empty,
        message.mac1,
        message.mac2,
    )


def parse_cookie_reply(data: bytes) -> CookieReply:
    _check(data, COOKIE_REPLY, COOKIE_REPLY_SIZE)
    return CookieReply(*_COOKIE_REPLY.unpack(data)[1:])


def encode_cookie_reply(message: CookieReply) -> bytes:
    return _COOKIE_REPLY.pack(COOKIE_REPLY, message.receiver_index, message.nonce, message.sealed_cookie)


def parse_transport(data: bytes) -> Transport:
    """The ciphertext may have any length from 16 up: padding is the sender's duty, not checked here."""
    if message_type(data) != TRANSPORT:
        raise DecodeError(DecodeReason.BAD_TYPE, "expected WireGuard type 4")
    if len(data) < TRANSPORT_OVERHEAD:
        raise DecodeError(DecodeReason.TOO_SHORT, "WireGuard transport")
    _, receiver_index, counter = TRANSPORT_HEADER.unpack_from(data)
    return Transport(receiver_index, counter, bytes(data[TRANSPORT_HEADER_SIZE:]))


def encode_transport(message: Transport) -> bytes:
    return TRANSPORT_HEADER.pack(TRANSPORT, message.receiver_index, message.counter) + message.sealed


def parse_message(data: bytes) -> Message:
    """Any of the four. Raises `DecodeError`."""
    kind = message_type(data)
    if kind == INITIATION:
        return parse_initiation(data)
    if kind == RESPONSE:
        return parse_response(data)
    return parse_cookie_reply(data) if kind == COOKIE_REPLY else parse_transport(data)


def encode_message(message: Message) -> bytes:
    if isinstance(message, Initiation):
        return encode_initiation(message)
    if isinstance(message, Response):
        return encode_response(message)
    return encode_cookie_reply(message) if isinstance(message, CookieReply) else encode_transport(message)


def padded_size(size: int, mtu: int) -> int:
    """Plaintext size after zero padding to 16, never above `mtu` (0: no limit)."""
    padded = (size + 15) & ~15
    return max(size, min(padded, mtu)) if mtu else padded
