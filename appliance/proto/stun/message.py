"""STUN binding request and response (RFC 5389 sections 6 and 15; derp spec section 8). Big-endian.

| Offset | Length | Field |
|---|---|---|
| 0 | 2 | type: 0x0001 request, 0x0101 success response |
| 2 | 2 | length of the attributes |
| 4 | 4 | magic cookie 0x2112A442 |
| 8 | 12 | transaction id |
| 20 | n | attributes: type (2), length (2), value padded to 4 |
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from appliance.types.addresses import Address, AddrPort, addr_port_from
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.packets import Buffer

HEADER_SIZE = 20
TX_ID_SIZE = 12
SOFTWARE = b"tailnode"
TICKET_TYPE = 0xFFF1
"""Unassigned; see train.py."""
TICKET_SIZE = 16

_COOKIE = b"\x21\x12\xa4\x42"
_PORT_MASK = 0x2112
_REQUEST = b"\x00\x01"
_RESPONSE = b"\x01\x01"
_FINGERPRINT_MASK = 0x5354554E
_ATTRIBUTE = struct.Struct(">HH")
_MAPPED_ADDRESS = 0x0001
_XOR_MAPPED_ADDRESS = 0x0020
_XOR_MAPPED_ADDRESS_OLD = 0x8020
_SOFTWARE_TYPE = 0x8022
_FINGERPRINT_TYPE = 0x8028
_FIRST_OPTIONAL = 0x8000
"""From here on, who does not know an attribute skips it (RFC 5389 section 15)."""


@dataclass(frozen=True, slots=True)
class BindingResponse:
    """`mapped` is the address that the server saw, IPv4-mapped already un-mapped. `ticket`: see train.py."""

    tx_id: bytes
    mapped: AddrPort
    ticket: bytes = b""


def is_stun(packet: Buffer) -> bool:
    """Whether a datagram of the shared socket is a binding message (8.5): request or response."""
    return len(packet) >= HEADER_SIZE and not packet[0] & 0xC0 and packet[1] == 1 and packet[4:8] == _COOKIE


def _fingerprint(message: bytes) -> bytes:
    return (zlib.crc32(message) ^ _FINGERPRINT_MASK).to_bytes(4, "big")


def encode_attribute(kind: int, value: bytes) -> bytes:
    """`value` of a multiple of 4 bytes."""
    return _ATTRIBUTE.pack(kind, len(value)) + value


def encode_request(tx_id: bytes, attribute: bytes = b"") -> bytes:
    """The 40-byte request that every server of the field answers (8.1).

    `attribute`: one more, encoded, which servers skip that do not know it (8.2).
    """
    if len(tx_id) != TX_ID_SIZE:
        raise ValueError("a STUN transaction id is 12 bytes")
    attributes = encode_attribute(_SOFTWARE_TYPE, SOFTWARE) + attribute
    message = _REQUEST + (len(attributes) + 8).to_bytes(2, "big") + _COOKIE + tx_id + attributes
    return message + encode_attribute(_FINGERPRINT_TYPE, _fingerprint(message))


def attributes_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each. Raises `DecodeError`."""
    at = 0
    while at < len(data):
        if len(data) - at < 4:
            raise DecodeError(DecodeReason.BAD_LENGTH, "STUN attribute header")
        kind, size = _ATTRIBUTE.unpack_from(data, at)
        end = at + 4 + (size + 3 & ~3)
        if end > len(data):
            raise DecodeError(DecodeReason.BAD_LENGTH, "STUN attribute")
        yield kind, data[at + 4 : at + 4 + size]
        at = end


def _require_stun(packet: Buffer, kind: bytes) -> bytes:
    """The datagram as bytes, after the checks common to both directions."""
    if len(packet) < HEADER_SIZE:
        raise DecodeError(DecodeReason.TOO_SHORT, "STUN header")
    if packet[0] & 0xC0 or packet[4:8] != _COOKIE:
        raise DecodeError(DecodeReason.BAD_MAGIC, "STUN cookie")
    if packet[:2] != kind:
        raise DecodeError(DecodeReason.BAD_TYPE, "STUN type")
    return bytes(packet)


def parse_request(packet: Buffer) -> bytes:
    """Transaction id of a request that we answer (8.2); everything else raises `DecodeError`."""
    message = _require_stun(packet, _REQUEST)
    attributes = list(attributes_of(message[HEADER_SIZE:]))  # to the datagram's end; the length field is not looked at
    if [value for kind, value in attributes if kind == _SOFTWARE_TYPE] != [SOFTWARE]:
        raise DecodeError(DecodeReason.BAD_VALUE, "STUN software")
    _check_fingerprint(message, attributes)
    return message[8:HEADER_SIZE]


def _check_fingerprint(message: bytes, attributes: list[tuple[int, bytes]]) -> None:
    kind, value = attributes[-1]
    if kind != _FINGERPRINT_TYPE or len(value) != 4:
        raise DecodeError(DecodeReason.BAD_VALUE, "STUN fingerprint is not last")
    if value != _fingerprint(message[:-8]):
        raise DecodeError(DecodeReason.BAD_CHECKSUM, "STUN fingerprint")


def parse_foreign_request(packet: Buffer) -> bytes:
    """Transaction id of a binding request of any other client, by the letter of RFC 5389. Raises `DecodeError`.

    Its length is true (section 6), a fingerprint fits, and it asks for nothing that only richer servers do (7.3.1).
    """
    message = _require_stun(packet, _REQUEST)
    if int.from_bytes(message[2:4], "big") != len(message) - HEADER_SIZE:
        raise DecodeError(DecodeReason.BAD_LENGTH, "STUN length")
    attributes = list(attributes_of(message[HEADER_SIZE:]))
    if any(kind < _FIRST_OPTIONAL for kind, _ in attributes):
        raise DecodeError(DecodeReason.BAD_VALUE, "STUN attribute that we do not know")
    if any(kind == _FINGERPRINT_TYPE for kind, _ in attributes):
        _check_fingerprint(message, attributes)
    return message[8:HEADER_SIZE]


def encode_response(tx_id: bytes, mapped: AddrPort, attribute: bytes = b"") -> bytes:
    """Success response (8.3): 32 bytes for IPv4, 44 for IPv6; an IPv4-mapped address is answered as IPv4.

    `attribute`: one more, encoded, for who asked for it.
    """
    address = addr_port_from(mapped.address, mapped.port).address
    value = bytes((0, 1 if address.version == 4 else 2)) + (mapped.port ^ _PORT_MASK).to_bytes(2, "big")
    attributes = encode_attribute(_XOR_MAPPED_ADDRESS, value + _mask(address.packed, tx_id)) + attribute
    return _RESPONSE + len(attributes).to_bytes(2, "big") + _COOKIE + tx_id + attributes


def _mask(packed: bytes, tx_id: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(packed, _COOKIE + tx_id, strict=False))


def _parse_address(value: bytes, tx_id: bytes, masked: bool) -> AddrPort:
    if len(value) < 4 or value[1] not in (1, 2):
        raise DecodeError(DecodeReason.BAD_VALUE, "STUN address family")
    packed = value[4 : 8 if value[1] == 1 else 20]
    port = int.from_bytes(value[2:4], "big")
    if len(packed) != (4 if value[1] == 1 else 16):
        raise DecodeError(DecodeReason.BAD_LENGTH, "STUN address")
    if masked:
        packed, port = _mask(packed, tx_id), port ^ _PORT_MASK
    address: Address = IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)
    return addr_port_from(address, port)


def parse_response(packet: Buffer) -> BindingResponse:
    """Success response of a server (8.4): the last XOR-MAPPED-ADDRESS, else MAPPED-ADDRESS. Raises `DecodeError`."""
    message = _require_stun(packet, _RESPONSE)
    end = HEADER_SIZE + int.from_bytes(message[2:4], "big")
    if end > len(message):
        raise DecodeError(DecodeReason.BAD_LENGTH, "STUN length")
    tx_id = message[8:HEADER_SIZE]
    masked: AddrPort | None = None
    plain: AddrPort | None = None
    ticket = b""
    for kind, value in attributes_of(message[HEADER_SIZE:end]):
        if kind in (_XOR_MAPPED_ADDRESS, _XOR_MAPPED_ADDRESS_OLD):
            masked = _parse_address(value, tx_id, masked=True)
        elif kind == _MAPPED_ADDRESS:
            plain = _parse_address(value, tx_id, masked=False)
        elif kind == TICKET_TYPE and len(value) == TICKET_SIZE:
            ticket = value
    mapped = masked or plain
    if mapped is None:
        raise DecodeError(DecodeReason.BAD_VALUE, "STUN response without an address")
    return BindingResponse(tx_id, mapped, ticket)
