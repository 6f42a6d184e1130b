"""The 8-byte Geneve header (RFC 8926, no options; magicsock-disco spec 1.4). Big-endian.

| Offset | Length | Field |
|---|---|---|
| 0 | 1 | version (2 bits) 0, option length (6 bits) 0 |
| 1 | 1 | bit 7 control, bit 6 critical (0), low 6 bits reserved (0) |
| 2 | 2 | protocol: 0x7A11 disco, 0x7A12 WireGuard |
| 4 | 3 | VNI |
| 7 | 1 | 0 |
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.packets import Buffer

HEADER_SIZE = 8
PROTOCOL_DISCO = 0x7A11
PROTOCOL_WIREGUARD = 0x7A12
MAX_VNI = 0xFFFFFF

_CONTROL = 0x80
_LAYOUT = struct.Struct(">BBHI")


@dataclass(frozen=True, slots=True)
class GeneveHeader:
    """`protocol` is one of `PROTOCOL_*`; `control` only on disco messages that end at the relay (types 4, 5, 6)."""

    protocol: int
    vni: int
    control: bool = False


def encode_header(header: GeneveHeader) -> bytes:
    """8 bytes. `ValueError` when the VNI needs more than 24 bits."""
    if not 0 <= header.vni <= MAX_VNI:
        raise ValueError("a VNI has 24 bits")
    return _LAYOUT.pack(0, _CONTROL if header.control else 0, header.protocol, header.vni << 8)


def parse_header(packet: Buffer) -> GeneveHeader:
    """Header of a packet; the payload starts at `HEADER_SIZE`. Raises `DecodeError`."""
    if len(packet) < HEADER_SIZE:
        raise DecodeError(DecodeReason.TOO_SHORT, "Geneve header")
    version, flags, protocol, vni = _LAYOUT.unpack_from(packet)
    if version & 0xC0:
        raise DecodeError(DecodeReason.BAD_VERSION, "Geneve")
    if version & 0x3F or flags & 0x7F or vni & 0xFF:
        raise DecodeError(DecodeReason.BAD_VALUE, "Geneve options or reserved bits")
    if protocol not in (PROTOCOL_DISCO, PROTOCOL_WIREGUARD):
        raise DecodeError(DecodeReason.BAD_TYPE, "Geneve protocol")
    return GeneveHeader(protocol, vni >> 8, bool(flags & _CONTROL))
