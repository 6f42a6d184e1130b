"""The two IP headers (RFC 791 3.1, RFC 8200 3 and 4).

IPv4: 0:1 version and header length, 1:1 TOS, 2:2 total length, 4:2 identification, 6:2 flags and fragment offset,
8:1 TTL, 9:1 protocol, 10:2 checksum, 12:4 source, 16:4 destination. IPv6: 0:4 version, traffic class and flow label,
4:2 payload length, 6:1 next header, 7:1 hop limit, 8:16 source, 24:16 destination. Big-endian.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from appliance.types.checksums import checksum, ones_sum
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.packets import Buffer

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
V4_HEADER, V6_HEADER, FRAGMENT_HEADER = 20, 40, 8
_V4 = struct.Struct(">BBHHHBBH4s4s")
_V6 = struct.Struct(">IHBB16s16s")
_FRAGMENT = struct.Struct(">BBHI")
_HOP_BY_HOP, _ROUTING, _FRAGMENT_NEXT, _OPTIONS = 0, 43, 44, 60
_MAX_EXTENSIONS = 8
_LONGEST = 65535
_DONT_FRAGMENT, _MORE, _OFFSET = 0x4000, 0x2000, 0x1FFF
_LOOSE, _STRICT = 131, 137


class Head(NamedTuple):
    """What both IP headers say. `start` is where the payload begins, `length` its bytes by the header.

    `offset` (bytes), `more` and `identification` are of a fragment; `fragment`: the packet is one, if only in form.
    """

    source: bytes
    destination: bytes
    traffic_class: int
    hop_limit: int
    protocol: int
    start: int
    length: int
    fragment: bool = False
    offset: int = 0
    more: bool = False
    identification: int = 0
    dont_fragment: bool = False

    @property
    def is_piece(self) -> bool:
        """Whether it holds less than a whole datagram."""
        return self.more or self.offset > 0


def parse_v4(data: Buffer, *, quoted: bool = False) -> Head:
    """`quoted`: in an ICMP error, where the payload may be cut. Raises `DecodeError`, also for source routes."""
    if len(data) < V4_HEADER:
        raise DecodeError(DecodeReason.TOO_SHORT, "IPv4 header")
    first, tos, total, identification, flags, ttl, protocol, _, source, destination = _V4.unpack_from(data)
    start = (first & 15) * 4
    if first >> 4 != 4:
        raise DecodeError(DecodeReason.BAD_VERSION, "IPv4 header")
    if not V4_HEADER <= start <= total or start > len(data) or (total > len(data) and not quoted):
        raise DecodeError(DecodeReason.BAD_LENGTH, "IPv4 header")
    if start > V4_HEADER and _is_source_routed(bytes(data[V4_HEADER:start])):
        raise DecodeError(DecodeReason.UNEXPECTED, "IPv4 source route")
    offset, more = (flags & _OFFSET) * 8, bool(flags & _MORE)
    _check_end(offset, total - start)
    return Head(
        source, destination, tos, ttl, protocol, start, total - start,
        more or offset > 0, offset, more, identification, bool(flags & _DONT_FRAGMENT),
    )  # fmt: skip


def parse_v6(data: Buffer, *, quoted: bool = False) -> Head:
    """Passes over hop-by-hop, routing and destination options. Raises `DecodeError`, also for routes not yet gone."""
    if len(data) < V6_HEADER:
        raise DecodeError(DecodeReason.TOO_SHORT, "IPv6 header")
    first, length, following, hops, source, destination = _V6.unpack_from(data)
    if first >> 28 != 6:
        raise DecodeError(DecodeReason.BAD_VERSION, "IPv6 header")
    if V6_HEADER + length > len(data) and not quoted:
        raise DecodeError(DecodeReason.BAD_LENGTH, "IPv6 header")
    head = Head(source, destination, first >> 20 & 0xFF, hops, following, V6_HEADER, length)
    if following in (_HOP_BY_HOP, _ROUTING, _FRAGMENT_NEXT, _OPTIONS):
        return _past_extensions(data, head)
    return head


def _past_extensions(data: Buffer, head: Head) -> Head:
    end = V6_HEADER + head.length
    for _ in range(_MAX_EXTENSIONS):
        at = head.start
        if head.protocol not in (_HOP_BY_HOP, _ROUTING, _FRAGMENT_NEXT, _OPTIONS):
            return head
        if at + 8 > min(end, len(data)):
            raise DecodeError(DecodeReason.TOO_SHORT, "IPv6 extension header")
        size = 8 if head.protocol == _FRAGMENT_NEXT else (data[at + 1] + 1) * 8
        if at + size > min(end, len(data)):
            raise DecodeError(DecodeReason.BAD_LENGTH, "IPv6 extension header")
        if head.protocol == _ROUTING and data[at + 3]:
            raise DecodeError(DecodeReason.UNEXPECTED, "IPv6 routing header")
        if head.protocol == _FRAGMENT_NEXT:
            _, _, place, identification = _FRAGMENT.unpack_from(data, at)
            head = head._replace(
                fragment=True, offset=place & ~7, more=bool(place & 1), identification=identification & 0xFFFF
            )
        head = head._replace(protocol=data[at], start=at + size, length=end - at - size)
        if head.offset:
            _check_end(head.offset, head.length)
            return head
    raise DecodeError(DecodeReason.TOO_LONG, "IPv6 extension headers")


def _check_end(offset: int, length: int) -> None:
    if offset + length > _LONGEST:
        raise DecodeError(DecodeReason.TOO_LONG, "IP fragment")


def encode_v4(head: Head, length: int) -> bytes:
    """A header without options for `length` bytes of payload. Raises `DecodeError` when that is too much."""
    if V4_HEADER + length > _LONGEST:
        raise DecodeError(DecodeReason.TOO_LONG, "IPv4 packet")
    flags = head.offset >> 3 | (_MORE if head.more else 0) | (_DONT_FRAGMENT if head.dont_fragment else 0)
    bare = _V4.pack(
        0x45, head.traffic_class, V4_HEADER + length, head.identification, flags,
        head.hop_limit, head.protocol, 0, head.source, head.destination,
    )  # fmt: skip
    return bare[:10] + checksum(ones_sum(bare)).to_bytes(2, "big") + bare[12:]


def encode_v6(head: Head, length: int) -> bytes:
    """A header, with a fragment header where `head.fragment`, for `length` bytes of payload; flow label 0.

    Raises `DecodeError` when that is too much.
    """
    if length + FRAGMENT_HEADER > _LONGEST:
        raise DecodeError(DecodeReason.TOO_LONG, "IPv6 packet")
    first = 6 << 28 | head.traffic_class << 20
    if not head.fragment:
        return _V6.pack(first, length, head.protocol, head.hop_limit, head.source, head.destination)
    whole = _V6.pack(
        first, length + FRAGMENT_HEADER, _FRAGMENT_NEXT, head.hop_limit, head.source, head.destination
    )  # fmt: skip
    return whole + _FRAGMENT.pack(head.protocol, 0, head.offset | head.more, head.identification)


def _is_source_routed(options: bytes) -> bool:
    """A route that has not reached its end (RFC 791 3.1)."""
    at = 0
    while at < len(options) and options[at]:
        if options[at] == 1:
            at += 1
            continue
        if at + 2 >= len(options) or options[at + 1] < 2:
            return False
        if options[at] in (_LOOSE, _STRICT) and options[at + 2] <= options[at + 1]:
            return True
        at += options[at + 1]
    return False
