"""The IP packet around a TSMP message (magicsock-disco spec 1.8): IPv4 without options and ID 0, IPv6 without
extension headers; TTL and hop limit 64."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from appliance.proto.tsmp.messages import Message, encode_message, parse_message
from appliance.types.addresses import Address
from appliance.types.errors import DecodeError, DecodeReason

PROTOCOL = 99
"""IP protocol number."""

_TTL = 64
_V4 = struct.Struct(">BBHHHBBH4s4s")
_V6 = struct.Struct(">IHBB16s16s")
_FRAGMENT = 0x3FFF


@dataclass(frozen=True, slots=True)
class Packet:
    """`source` and `destination` are overlay addresses of one IP version."""

    source: Address
    destination: Address
    message: Message


def encode_packet(packet: Packet) -> bytes:
    """Raises `ValueError` when the addresses are of two IP versions."""
    payload = encode_message(packet.message)
    source, destination = packet.source.packed, packet.destination.packed
    if len(source) != len(destination):
        raise ValueError("addresses of two IP versions")
    if packet.source.version == 6:
        return _V6.pack(6 << 28, len(payload), PROTOCOL, _TTL, source, destination) + payload
    length = _V4.size + len(payload)
    without_sum = _V4.pack(0x45, 0, length, 0, 0, _TTL, PROTOCOL, 0, source, destination)
    return without_sum[:10] + _checksum(without_sum).to_bytes(2, "big") + without_sum[12:] + payload


def parse_packet(data: bytes | memoryview) -> Packet:
    """Raises `DecodeError`. Authenticity is the tunnel's matter, and so is whether the source is the sender's."""
    if not len(data):
        raise DecodeError(DecodeReason.TOO_SHORT, "TSMP packet")
    version = data[0] >> 4
    if version == 4:
        return _parse_v4(bytes(data))
    if version == 6:
        return _parse_v6(bytes(data))
    raise DecodeError(DecodeReason.BAD_VERSION, "TSMP packet")


def _parse_v4(data: bytes) -> Packet:
    if len(data) < _V4.size:
        raise DecodeError(DecodeReason.TOO_SHORT, "TSMP packet")
    first, _, length, _, fragment, _, protocol, _, source, destination = _V4.unpack_from(data)
    header = (first & 15) * 4
    if protocol != PROTOCOL or fragment & _FRAGMENT:
        raise DecodeError(DecodeReason.UNEXPECTED, "TSMP packet")
    if not _V4.size <= header <= length <= len(data):
        raise DecodeError(DecodeReason.BAD_LENGTH, "TSMP packet")
    return Packet(IPv4Address(source), IPv4Address(destination), parse_message(data[header:length]))


def _parse_v6(data: bytes) -> Packet:
    if len(data) < _V6.size:
        raise DecodeError(DecodeReason.TOO_SHORT, "TSMP packet")
    _, length, protocol, _, source, destination = _V6.unpack_from(data)
    if protocol != PROTOCOL:
        raise DecodeError(DecodeReason.UNEXPECTED, "TSMP packet")
    if length > len(data) - _V6.size:
        raise DecodeError(DecodeReason.BAD_LENGTH, "TSMP packet")
    payload = data[_V6.size : _V6.size + length]
    return Packet(IPv6Address(source), IPv6Address(destination), parse_message(payload))


def _checksum(header: bytes) -> int:
    """RFC 1071 over an IPv4 header whose checksum field is zero."""
    total: int = sum(struct.unpack(f">{len(header) // 2}H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
