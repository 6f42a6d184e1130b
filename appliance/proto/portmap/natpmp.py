"""NAT-PMP datagrams (RFC 6886 section 3; derp spec 10.4). Big-endian.

| Message | Length | Fields: offset, length |
|---|---|---|
| address request | 2 | version 0 (0, 1), opcode 0 (1, 1) |
| address reply | 12 | version, opcode 128, result (2, 2), epoch s (4, 4), external IPv4 (8, 4) |
| map request | 12 | version, opcode 1 = UDP, zero (2, 2), internal port (4, 2), wanted port (6, 2), lifetime s (8, 4) |
| map reply | 16 | version, opcode 129, result, epoch, internal port (8, 2), external port (10, 2), lifetime s (12, 4) |

A refusal may end after its first 8 bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

from appliance.types.errors import DecodeError, DecodeReason

PORT = 5351
"""Where routers listen, for NAT-PMP and PCP alike."""
ANNOUNCE_PORT = 5350
"""Where hosts hear a router's own announcements, sent to 224.0.0.1 (RFC 6886 section 3.2.1)."""

_VERSION = 0
_ADDRESS = 0
_MAP_UDP = 1
_REPLY = 0x80
_HEAD = struct.Struct(">BBHI")
_MAP_REQUEST = struct.Struct(">BBHHHI")
_MAP_TAIL = struct.Struct(">HHI")

RESULTS = {
    1: "version not supported",
    2: "not authorised",
    3: "the router has no address itself",
    4: "out of resources",
    5: "opcode not supported",
}


@dataclass(frozen=True, slots=True)
class AddressReply:
    """`result` 0 = done. `address` None: the router does not know its outside address."""

    result: int
    epoch_s: int
    address: IPv4Address | None = None


@dataclass(frozen=True, slots=True)
class MapReply:
    """Ports and lifetime are 0 in a refusal."""

    result: int
    epoch_s: int
    internal_port: int = 0
    external_port: int = 0
    lifetime_s: int = 0


def encode_address_request() -> bytes:
    return bytes((_VERSION, _ADDRESS))


def encode_map_request(internal_port: int, external_port: int, lifetime_s: int) -> bytes:
    """`external_port` 0: any; `lifetime_s` 0 deletes."""
    return _MAP_REQUEST.pack(_VERSION, _MAP_UDP, 0, internal_port, external_port, lifetime_s)


def parse_reply(data: bytes) -> AddressReply | MapReply:
    """A datagram from the router. Raises `DecodeError`."""
    if len(data) < _HEAD.size:
        raise DecodeError(DecodeReason.TOO_SHORT, "NAT-PMP reply")
    version, opcode, result, epoch = _HEAD.unpack_from(data)
    if version != _VERSION:
        raise DecodeError(DecodeReason.BAD_VERSION, "NAT-PMP reply")
    rest = data[_HEAD.size :]
    if opcode == _REPLY | _ADDRESS:
        return _address_reply(result, epoch, rest)
    if opcode == _REPLY | _MAP_UDP:
        return _map_reply(result, epoch, rest)
    raise DecodeError(DecodeReason.BAD_TYPE, "NAT-PMP opcode")


def _address_reply(result: int, epoch: int, rest: bytes) -> AddressReply:
    if result:
        return AddressReply(result, epoch)
    if len(rest) != 4:
        raise DecodeError(DecodeReason.BAD_LENGTH, "NAT-PMP address reply")
    address = IPv4Address(rest)
    return AddressReply(0, epoch, None if address.is_unspecified else address)


def _map_reply(result: int, epoch: int, rest: bytes) -> MapReply:
    if result:
        return MapReply(result, epoch)
    if len(rest) != _MAP_TAIL.size:
        raise DecodeError(DecodeReason.BAD_LENGTH, "NAT-PMP map reply")
    return MapReply(0, epoch, *_MAP_TAIL.unpack(rest))
