"""Netlink messages and their attributes (linux/netlink.h). Pure.

A message is u32 length (with its head of 16 bytes), u16 type, u16 flags, u32 number, u32 port, payload, filled up to a
multiple of 4. An attribute is u16 length (with its head of 4 bytes), u16 type, payload, filled up to a multiple of 4; a
nested one has bit 15 of its type set. Integers of the heads are in the host's order.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from appliance.types.errors import DecodeError, DecodeReason

HEADER = struct.Struct("=IHHII")
REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
REPLACE, EXCLUSIVE, CREATE = 0x100, 0x200, 0x400
ERROR, DONE = 2, 3
_NESTED = 0x8000
_TYPE_MASK = 0x3FFF
_HEAD = struct.Struct("=HH")
_NUMBER = struct.Struct("=I")


def attribute(kind: int, payload: bytes) -> bytes:
    return _HEAD.pack(4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def nested(kind: int, payload: bytes) -> bytes:
    return attribute(kind | _NESTED, payload)


def attributes(data: bytes | memoryview) -> Iterator[tuple[int, memoryview]]:
    """Type (without flag bits) and payload of each. Raises `DecodeError`."""
    view = memoryview(data)
    while len(view) >= 4:
        length, kind = _HEAD.unpack_from(view)
        if not 4 <= length <= len(view):
            raise DecodeError(DecodeReason.BAD_LENGTH, "netlink attribute")
        yield kind & _TYPE_MASK, view[4:length]
        view = view[(length + 3) & ~3 :]


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Number, type and payload of each message in a datagram."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, _flags, number, _pid = HEADER.unpack_from(data, at)
        if length < HEADER.size:
            return
        yield number, kind, data[at + HEADER.size : at + length]
        at += (length + 3) & ~3


def check(payload: bytes) -> None:
    """Raise the OSError that an acknowledgement carries."""
    code = -struct.unpack_from("=i", payload)[0] if len(payload) >= 4 else 0
    if code:
        raise OSError(code, os.strerror(code))


def message(kind: int, flags: int, number: int, body: bytes) -> bytes:
    """One with its head."""
    return HEADER.pack(HEADER.size + len(body), kind, flags, number, 0) + body + bytes(-len(body) % 4)


def text(value: memoryview | None) -> str:
    """An attribute that is a name; empty where there is none."""
    return bytes(value).rstrip(b"\0").decode(errors="replace") if value is not None else ""


def named(kind: int, name: str) -> bytes:
    """The attribute of a name."""
    return attribute(kind, name.encode() + b"\0")


def number(value: memoryview | None, absent: int = 0) -> int:
    """A u32 attribute. Raises `DecodeError`."""
    if value is None:
        return absent
    if len(value) != _NUMBER.size:
        raise DecodeError(DecodeReason.BAD_LENGTH, "number in a netlink attribute")
    return int(_NUMBER.unpack(value)[0])
