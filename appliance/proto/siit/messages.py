"""ICMP packets of both versions with their checksums (RFC 792, RFC 4443 2.3), and quotations turned over.

Fragments of ICMP are not translated: its checksum covers what the other fragments hold (RFC 7915 1.2).
"""

from __future__ import annotations

import struct

from appliance.proto.siit.datagram import (
    ICMP,
    ICMP6,
    V4_HEADER,
    V6_HEADER,
    Head,
    encode_v4,
    encode_v6,
)
from appliance.proto.siit.icmp import ECHO, ECHO_BACK, MIN_V6_MTU, Error
from appliance.proto.siit.transport import FIELD_AT, adjust
from appliance.types.checksums import checksum, ones_sum
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.packets import Buffer

HEAD = struct.Struct(">BBHI")
LONGEST_V4_ERROR = 576
"""RFC 1812 section 4.3.2.3."""
LONGEST_V6_ERROR = MIN_V6_MTU
"""RFC 4443 section 2.4."""
HOPS = 64


def body_sum(head: Head, body: Buffer, version: int) -> int:
    """Sum that makes the checksum of an ICMP message: 0 modulo 65535 when the one inside is right."""
    if version == 4:
        return ones_sum(body) % 65535
    return (ones_sum(head.source) + ones_sum(head.destination) + ICMP6 + len(body) + ones_sum(body)) % 65535


def packet(head: Head, kind: int, code: int, rest: bytes, version: int) -> bytes:
    """A whole packet; `rest` is everything after the checksum."""
    bare = bytes((kind, code, 0, 0)) + rest
    total = checksum(body_sum(head, bare, version)).to_bytes(2, "big")
    encoded = encode_v4(head, len(bare)) if version == 4 else encode_v6(head, len(bare))
    return encoded + bare[:2] + total + bare[4:]


def error_packet(source: bytes, destination: bytes, error: Error, quoted: Buffer, traffic_class: int = 0) -> bytes:
    """An ICMP error of the version of the addresses, its quotation cut to what is allowed."""
    version = 4 if len(source) == 4 else 6
    room = (LONGEST_V4_ERROR - V4_HEADER if version == 4 else LONGEST_V6_ERROR - V6_HEADER) - HEAD.size
    head = Head(source, destination, traffic_class, HOPS, ICMP if version == 4 else ICMP6, 0, 0)
    rest = error.rest.to_bytes(4, "big") + bytes(quoted[:room])
    return packet(head, error.kind, error.code, rest, version)


def quotation(data: Buffer, kind: int, rest: int, version: int) -> Buffer:
    """The packet that an error's body quotes, without the extensions behind it (RFC 4884 section 4)."""
    if version == 4:
        words = (rest >> 16 & 0xFF) * 4 if kind in (3, 11, 12) else 0
    else:
        words = (rest >> 24) * 8 if kind in (1, 3) else 0
    body = data[HEAD.size :]
    return body[:words] if words else body


def turned_quotation(quoted: Buffer, old: Head, new: Head, version: int) -> bytes:
    """The quoted packet in the words of `version`; `old` is its parsed head. Raises `DecodeError` for what has none."""
    payload = bytearray(quoted[old.start : old.start + old.length])
    change = ones_sum(new.source) + ones_sum(new.destination) - ones_sum(old.source) - ones_sum(old.destination)
    if old.offset:
        change = 0
    elif new.protocol in (ICMP, ICMP6):
        _turn_echo(payload, old, change, version)
    elif new.protocol in FIELD_AT and len(payload) >= FIELD_AT[new.protocol] + 2:
        adjust(payload, 0, new.protocol, change, partial=False)
    return (encode_v4(new, old.length) if version == 4 else encode_v6(new, old.length)) + payload


def _turn_echo(payload: bytearray, old: Head, change: int, version: int) -> None:
    """Only echoes may be quoted: there are no errors about errors."""
    kinds = ECHO_BACK if version == 4 else ECHO
    if len(payload) < 4 or payload[0] not in kinds or old.is_piece:
        raise DecodeError(DecodeReason.UNEXPECTED, "quoted ICMP message")
    kind = kinds[payload[0]]
    addresses = ones_sum(old.source) + ones_sum(old.destination)
    pseudo = addresses + ICMP6 + old.length  # only the sum of ICMPv6 has one
    covered = -pseudo if version == 4 else pseudo + change
    field = payload[2] << 8 | payload[3]
    value = checksum(covered + (kind - payload[0] << 8) - field)
    payload[0], payload[2], payload[3] = kind, value >> 8, value & 0xFF
