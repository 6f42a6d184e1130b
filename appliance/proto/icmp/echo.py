"""Echo requests and replies: 0:1 type, 1:1 code, 2:2 checksum, 4:2 identifier, 6:2 sequence, 8: data; big-endian.

A reply of IPv4 comes with its IP header, one of IPv6 without, as raw sockets give them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from appliance.types.errors import DecodeError, DecodeReason

_HEAD = struct.Struct(">BBHHH")
_REQUEST = {4: 8, 6: 128}
_REPLY = {4: 0, 6: 129}


@dataclass(frozen=True, slots=True)
class Echo:
    identifier: int
    sequence: int
    data: bytes


def encode_request(version: int, echo: Echo) -> bytes:
    """The checksum of ICMPv6 covers addresses: it is left to the kernel."""
    head = _HEAD.pack(_REQUEST[version], 0, 0, echo.identifier, echo.sequence)
    total = _checksum(head + echo.data) if version == 4 else 0
    return _HEAD.pack(_REQUEST[version], 0, total, echo.identifier, echo.sequence) + echo.data


def parse_reply(version: int, packet: bytes) -> Echo:
    """Raises `DecodeError`; BAD_TYPE for ICMP that is no echo reply."""
    start = (packet[0] & 15) * 4 if version == 4 and packet else 0
    if (version == 4 and start < 20) or len(packet) < start + _HEAD.size:
        raise DecodeError(DecodeReason.TOO_SHORT, "ICMP")
    kind, code, _, identifier, sequence = _HEAD.unpack_from(packet, start)
    if kind != _REPLY[version] or code:
        raise DecodeError(DecodeReason.BAD_TYPE, "ICMP")
    return Echo(identifier, sequence, packet[start + _HEAD.size :])


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
