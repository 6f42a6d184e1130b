"""Frames from clients parsed, frames to clients made (RFC 6455 section 5). No extensions; big-endian.

| Offset | Length | Field |
|---|---|---|
| 0 | 1 | FIN (bit 7), reserved (bits 6 to 4, 0), opcode (low 4 bits) |
| 1 | 1 | mask (bit 7, always set by clients), length: 0 to 125, 126 = 2 bytes follow, 127 = 8 bytes follow |
| 2 | 0, 2 or 8 | longer length |
| then | 4 | masking key (clients only), then the payload, each byte xor the key's byte at its index modulo 4 |
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from enum import IntEnum

from appliance.types.errors import DecodeError, DecodeReason

MAX_PAYLOAD = 1 << 17
"""Of one frame of a client, so that a stranger cannot have us keep more: two of the largest DERP frames."""
MAX_CONTROL = 125
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Opcode(IntEnum):
    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class CloseCode(IntEnum):
    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL = 1002
    UNSUPPORTED = 1003
    POLICY = 1008


@dataclass(frozen=True, slots=True)
class Message:
    """A frame's payload: of CONTINUATION, TEXT and BINARY perhaps a part of a message only."""

    opcode: Opcode
    payload: bytes


def accept_value(key: str) -> str:
    """`Sec-WebSocket-Accept` for a client's `Sec-WebSocket-Key` (RFC 6455 section 4.2.2)."""
    digest = hashlib.sha1(key.encode("latin-1", "replace") + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode("ascii")


def _head(opcode: Opcode, size: int) -> bytes:
    first = bytes((0x80 | opcode,))
    if size <= MAX_CONTROL:
        return first + bytes((size,))
    if size < 1 << 16:
        return first + b"\x7e" + size.to_bytes(2, "big")
    return first + b"\x7f" + size.to_bytes(8, "big")


def encode_binary(payload: bytes) -> bytes:
    """One whole binary message."""
    return _head(Opcode.BINARY, len(payload)) + payload


def encode_control(opcode: Opcode, payload: bytes = b"") -> bytes:
    """A ping, pong or close; `payload` is cut to 125 bytes."""
    cut = payload[:MAX_CONTROL]
    return _head(opcode, len(cut)) + cut


def encode_close(code: CloseCode) -> bytes:
    return encode_control(Opcode.CLOSE, code.to_bytes(2, "big"))


def _unmasked(payload: bytes, key: bytes) -> bytes:
    """Xor with the repeated key, as one large number: quick for any length."""
    size = len(payload)
    if not size:
        return b""
    mask = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(size, "big")


class ServerParser:
    """Bytes of a client in any cut."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._in_message = False

    def feed(self, data: bytes) -> list[Message]:
        """Complete frames in order. Raises `DecodeError`, after which nothing more may be fed."""
        self._buffer += data
        found: list[Message] = []
        while (message := self._next()) is not None:
            found.append(message)
        return found

    def _next(self) -> Message | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        opcode, final = self._opcode(buffer[0])
        at, size = 2, buffer[1] & 0x7F
        if not buffer[1] & 0x80:
            raise DecodeError(DecodeReason.BAD_VALUE, "an unmasked WebSocket frame")
        if opcode >= Opcode.CLOSE and (size > MAX_CONTROL or not final):
            raise DecodeError(DecodeReason.BAD_LENGTH, "WebSocket control frame")
        if size > MAX_CONTROL:
            width = 2 if size == 126 else 8
            if len(buffer) < at + width:
                return None
            size = int.from_bytes(buffer[at : at + width], "big")
            at += width
        if size > MAX_PAYLOAD:
            raise DecodeError(DecodeReason.BAD_LENGTH, "WebSocket frame")
        if len(buffer) < at + 4 + size:
            return None
        payload = _unmasked(bytes(buffer[at + 4 : at + 4 + size]), bytes(buffer[at : at + 4]))
        del buffer[: at + 4 + size]
        if opcode < Opcode.CLOSE:
            self._in_message = not final
        return Message(opcode, payload)

    def _opcode(self, first: int) -> tuple[Opcode, bool]:
        if first & 0x70:
            raise DecodeError(DecodeReason.BAD_VALUE, "reserved WebSocket bits")
        try:
            opcode = Opcode(first & 0x0F)
        except ValueError:
            raise DecodeError(DecodeReason.BAD_TYPE, "WebSocket opcode") from None
        if opcode < Opcode.CLOSE and (opcode is Opcode.CONTINUATION) is not self._in_message:
            raise DecodeError(DecodeReason.UNEXPECTED, "WebSocket fragment")
        return opcode, bool(first & 0x80)
