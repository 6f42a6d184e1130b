"""Frames of the Noise layer (control-protocol spec section 4.1).

initiation  101 B   version u16 BE, 01, length u16 BE = 96, payload
response     51 B   02, length u16 BE = 48, payload
error       3+n B   03, n u16 BE, text (unauthenticated)
record      3+n B   04, n u16 BE, ciphertext (at most 4093)
"""

from __future__ import annotations

import struct

from appliance.types.errors import DecodeError, DecodeReason

TYPE_INITIATION = 1
TYPE_RESPONSE = 2
TYPE_ERROR = 3
TYPE_RECORD = 4

HEADER_SIZE = 3
INITIATION_SIZE = 101
RESPONSE_SIZE = 51
MAX_RECORD_SIZE = 4096
MAX_CIPHERTEXT_SIZE = MAX_RECORD_SIZE - HEADER_SIZE
MAX_PLAINTEXT_SIZE = MAX_CIPHERTEXT_SIZE - 16

INITIATION_HEADER = struct.Struct(">HBH")
HEADER = struct.Struct(">BH")


def encode_error(text: str) -> bytes:
    """The unauthenticated error frame; `text` is cut to what fits."""
    raw = text.encode()[:MAX_CIPHERTEXT_SIZE]
    return HEADER.pack(TYPE_ERROR, len(raw)) + raw


def parse_initiation(data: bytes) -> tuple[int, bytes]:
    """Version and the 96 payload bytes. Raises `DecodeError` (BAD_LENGTH, BAD_TYPE): answered with an error frame."""
    if len(data) != INITIATION_SIZE:
        raise DecodeError(DecodeReason.BAD_LENGTH, f"initiation of {len(data)} bytes")
    version, kind, length = INITIATION_HEADER.unpack_from(data)
    if kind != TYPE_INITIATION:
        raise DecodeError(DecodeReason.BAD_TYPE, f"initiation of type {kind}")
    if length != INITIATION_SIZE - INITIATION_HEADER.size:
        raise DecodeError(DecodeReason.BAD_LENGTH, f"initiation payload of {length} bytes")
    return version, data[INITIATION_HEADER.size :]


def parse_response(data: bytes | bytearray) -> tuple[bytes, int] | None:
    """Payload (48 bytes) and size of the response frame at the start of `data`; None = more bytes needed.

    An error frame raises `DecodeError` (UNEXPECTED) with the server's text, a hint that nothing authenticates.
    """
    if len(data) < HEADER_SIZE:
        return None
    kind, length = HEADER.unpack_from(data)
    if kind == TYPE_ERROR:
        if length > MAX_CIPHERTEXT_SIZE:
            raise DecodeError(DecodeReason.TOO_LONG, "error frame")
        if len(data) < HEADER_SIZE + length:
            return None
        text = bytes(data[HEADER_SIZE : HEADER_SIZE + length]).decode("utf-8", "replace")
        raise DecodeError(DecodeReason.UNEXPECTED, f"server refused the handshake: {text[:200]!r}")
    if kind != TYPE_RESPONSE:
        raise DecodeError(DecodeReason.BAD_TYPE, f"response of type {kind}")
    if length != RESPONSE_SIZE - HEADER_SIZE:
        raise DecodeError(DecodeReason.BAD_LENGTH, f"response payload of {length} bytes")
    if len(data) < RESPONSE_SIZE:
        return None
    return bytes(data[HEADER_SIZE:RESPONSE_SIZE]), RESPONSE_SIZE
