"""The magic packet: six bytes 0xFF, then the card's address sixteen times; 102 bytes, without a password.

It travels in a broadcast datagram, customarily to port 9 (discard): the card looks at bytes, not at ports.
"""

from __future__ import annotations

import re

from appliance.types.errors import DecodeError, DecodeReason

PORT = 9
MAC_SIZE = 6
REPEATS = 16
_SYNC = b"\xff" * MAC_SIZE
_GROUP_BIT = 0x01
_HEX = re.compile(r"[0-9a-f]{12}")
_FORMS = (
    re.compile(r"(?:..:){5}.."),
    re.compile(r"(?:..-){5}.."),
    re.compile(r"(?:....\.){2}...."),
    re.compile(r".{12}"),
)
MAX_TEXT = 17


def normal_mac(text: str) -> str:
    """ "00-1A-…", "001a.…", "001A…" or "00:1a:…" as "00:1a:…". Raises `DecodeError`, also for what is no card's."""
    text = text.strip().lower()
    digits = re.sub(r"[:.-]", "", text) if len(text) <= MAX_TEXT else ""
    if not _HEX.fullmatch(digits) or not any(form.fullmatch(text) for form in _FORMS):
        raise DecodeError(DecodeReason.BAD_TEXT, "no hardware address")
    raw = bytes.fromhex(digits)
    if not any(raw) or raw[0] & _GROUP_BIT:
        raise DecodeError(DecodeReason.BAD_VALUE, "the hardware address of no single card")
    return raw.hex(":")


def magic_packet(mac: str) -> bytes:
    """`mac` in any form of `normal_mac`. Raises `DecodeError`."""
    return _SYNC + bytes.fromhex(normal_mac(mac).replace(":", "")) * REPEATS


def parse_magic_packet(data: bytes) -> str:
    """Whom a datagram wakes, in normal form. Raises `DecodeError`."""
    if len(data) != MAC_SIZE * (REPEATS + 1):
        raise DecodeError(DecodeReason.BAD_LENGTH, "magic packet")
    mac = data[MAC_SIZE : 2 * MAC_SIZE]
    if data != _SYNC + mac * REPEATS:
        raise DecodeError(DecodeReason.BAD_MAGIC, "magic packet")
    return normal_mac(mac.hex(":"))
