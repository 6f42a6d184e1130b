"""PCP datagrams, version 2 (RFC 6887 sections 7 and 11; derp spec 10.5). Big-endian.

| Offset | Length | Request | Reply |
|---|---|---|---|
| 0 | 1 | version 2 | version 2 |
| 1 | 1 | opcode | 0x80 and opcode |
| 2 | 2 | zero | zero (1), result (1) |
| 4 | 4 | lifetime s | lifetime s |
| 8 | 16 | client address, IPv4-mapped | epoch s (4), zero (12) |
| 24 | 36 | only MAP: nonce (12), protocol 17 (1), zero (3), | same |
| | | internal port (2), external port (2), external address (16) | same |
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from appliance.types.addresses import Address, unmap
from appliance.types.errors import DecodeError, DecodeReason

NONCE_SIZE = 12
MAX_SIZE = 1100
ANNOUNCE = 0
MAP = 1
UNSUPPORTED_VERSION = 1
NOT_AUTHORIZED = 2
ADDRESS_MISMATCH = 12

_VERSION = 2
_UDP = 17
_REPLY = 0x80
_REQUEST_HEAD = struct.Struct(">BBHI16s")
_REPLY_HEAD = struct.Struct(">BBBBII12x")
_MAP = struct.Struct(">12sB3xHH16s")

RESULTS = {
    1: "version not supported",
    2: "not authorised",
    3: "malformed request",
    4: "opcode not supported",
    5: "option not supported",
    6: "malformed option",
    7: "the router has no address itself",
    8: "out of resources",
    9: "protocol not supported",
    10: "over the quota",
    11: "the wanted external address cannot be had",
    12: "address mismatch: another NAT is between",
    13: "too many peers",
}


@dataclass(frozen=True, slots=True)
class MapData:
    """The part of a MAP message behind its header."""

    nonce: bytes
    internal_port: int
    external_port: int
    external_address: Address


@dataclass(frozen=True, slots=True)
class Reply:
    """`result` 0 = done; `mapping` only in replies to MAP (a refusal may lack it)."""

    opcode: int
    result: int
    lifetime_s: int
    epoch_s: int
    mapping: MapData | None = None


def _mapped(address: IPv4Address) -> bytes:
    return bytes(10) + b"\xff\xff" + address.packed


def encode_announce(client: IPv4Address) -> bytes:
    return _REQUEST_HEAD.pack(_VERSION, ANNOUNCE, 0, 0, _mapped(client))


def encode_map(
    client: IPv4Address,
    nonce: bytes,
    internal_port: int,
    lifetime_s: int,
    *,
    external_port: int = 0,
    external_address: IPv4Address = IPv4Address(0),  # noqa: B008  # immutable
) -> bytes:
    """Wanted external port and address: 0 = any. `lifetime_s` 0 deletes."""
    if len(nonce) != NONCE_SIZE:
        raise ValueError("a PCP nonce is 12 bytes")
    head = _REQUEST_HEAD.pack(_VERSION, MAP, 0, lifetime_s, _mapped(client))
    return head + _MAP.pack(nonce, _UDP, internal_port, external_port, _mapped(external_address))


def parse_reply(data: bytes) -> Reply:
    """A datagram from the router; options behind the opcode's data are not looked at. Raises `DecodeError`."""
    if len(data) < _REPLY_HEAD.size:
        raise DecodeError(DecodeReason.TOO_SHORT, "PCP reply")
    if len(data) > MAX_SIZE or len(data) % 4:
        raise DecodeError(DecodeReason.BAD_LENGTH, "PCP reply")
    version, opcode, _, result, lifetime, epoch = _REPLY_HEAD.unpack_from(data)
    if version != _VERSION:
        raise DecodeError(DecodeReason.BAD_VERSION, "PCP reply")
    if not opcode & _REPLY:
        raise DecodeError(DecodeReason.BAD_TYPE, "PCP request instead of a reply")
    opcode &= ~_REPLY
    if opcode not in (ANNOUNCE, MAP):
        raise DecodeError(DecodeReason.BAD_TYPE, "PCP opcode")
    mapping = _map_data(data) if opcode == MAP and len(data) >= _REPLY_HEAD.size + _MAP.size else None
    if opcode == MAP and not result and mapping is None:
        raise DecodeError(DecodeReason.TOO_SHORT, "PCP MAP reply")
    return Reply(opcode, result, lifetime, epoch, mapping)


def _map_data(data: bytes) -> MapData:
    nonce, protocol, internal, external, address = _MAP.unpack_from(data, _REPLY_HEAD.size)
    if protocol != _UDP:
        raise DecodeError(DecodeReason.BAD_VALUE, "PCP mapping of another protocol")
    return MapData(nonce, internal, external, unmap(IPv6Address(address)))
