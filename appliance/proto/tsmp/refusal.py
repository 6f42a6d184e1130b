"""The answer to a refused TCP connection, from the first bytes of its packet (node-os spec 1.4)."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from appliance.proto.tsmp.messages import Rejected, RejectReason
from appliance.proto.tsmp.packet import Packet
from appliance.types.errors import DecodeError, DecodeReason

_TCP = 6
_V4_HEADER, _V6_HEADER = 20, 40
_FRAGMENT_OFFSET = 0x1FFF
_PORTS = struct.Struct(">HH")


def refusal(head: bytes | memoryview, reason: RejectReason) -> Packet:
    """`head`: IP header (RFC 791, RFC 8200 without extension headers) and the first 4 bytes of TCP's.

    The answer goes from the flow's destination to its source. Raises `DecodeError`.
    """
    version = head[0] >> 4 if len(head) else 0
    if version == 4 and len(head) >= _V4_HEADER:
        protocol, at = head[9], (head[0] & 15) * 4
        source, destination = IPv4Address(bytes(head[12:16])), IPv4Address(bytes(head[16:20]))
        whole = at >= _V4_HEADER and not int.from_bytes(head[6:8], "big") & _FRAGMENT_OFFSET
        return _answer(protocol if whole else 0, head[at:], source, destination, reason)
    if version == 6 and len(head) >= _V6_HEADER:
        from_v6, to_v6 = IPv6Address(bytes(head[8:24])), IPv6Address(bytes(head[24:40]))
        return _answer(head[6], head[_V6_HEADER:], from_v6, to_v6, reason)
    raise DecodeError(DecodeReason.BAD_VERSION if version not in (4, 6) else DecodeReason.TOO_SHORT, "refused packet")


def _answer(
    protocol: int,
    payload: bytes | memoryview,
    source: IPv4Address | IPv6Address,
    destination: IPv4Address | IPv6Address,
    reason: RejectReason,
) -> Packet:
    if protocol != _TCP:
        raise DecodeError(DecodeReason.UNEXPECTED, "refused packet")
    if len(payload) < _PORTS.size:
        raise DecodeError(DecodeReason.TOO_SHORT, "refused packet")
    from_port, to_port = _PORTS.unpack_from(payload)
    return Packet(destination, source, Rejected(_TCP, int(reason), from_port, to_port))
