"""The translator: batches of packets of both versions in, batches in the other version's words out (RFC 7915).

IPv6 packets have a destination in 4via6 form, whose last four bytes are the site's IPv4 host; their source gets an
address of the pool, behind which the host's own NAT works. Answers to a pool address go back. Super-packets of the
network card's offloads are translated whole. Hop limits stay: the host forwards before and after, and counts both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network

from appliance.proto.siit.bindings import Bindings
from appliance.proto.siit.datagram import (
    FRAGMENT_HEADER,
    ICMP,
    ICMP6,
    TCP,
    UDP,
    V4_HEADER,
    V6_HEADER,
    Head,
    encode_v4,
    encode_v6,
    parse_v4,
    parse_v6,
)
from appliance.proto.siit.icmp import ECHO, ECHO_BACK, GROWTH, MIN_V6_MTU, Error, error_to_v4, error_to_v6
from appliance.proto.siit.messages import HEAD, body_sum, error_packet, packet, quotation, turned_quotation
from appliance.proto.siit.transport import FIELD_AT, adjust, fill, has_checksum, header_bytes
from appliance.types.addresses import VIA_V6
from appliance.types.checksums import ones_sum
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.packets import GSO_ECN, GSO_TCPV4, GSO_TCPV6, TunPacket
from appliance.types.token_bucket import TokenBucket
from appliance.types.via import NOT_IN_SITES

VIA = VIA_V6.network_address.packed[:8]
ERRORS_PER_S = 100.0
"""ICMP errors of the translator's own, in the long run and at once."""
_PROHIBITED = Error(1, 1)


class Drop(StrEnum):
    """Why a packet was not translated."""

    MALFORMED = "malformed"
    NOT_SERVED = "not_served"
    FORBIDDEN = "forbidden"
    POOL_FULL = "pool_full"
    UNBOUND = "unbound"
    FRAGMENTED_ICMP = "fragmented_icmp"
    NO_CHECKSUM = "no_checksum"
    UNTRANSLATABLE = "untranslatable"
    TOO_BIG = "too_big"


@dataclass(slots=True)
class Counters:
    """Packets; a super-packet counts once."""

    to_v4: int = 0
    to_v6: int = 0
    errors_sent: int = 0
    dropped: dict[Drop, int] = field(default_factory=lambda: dict.fromkeys(Drop, 0))


class _Dropped(Exception):
    """Within this module: why the packet at hand goes no further."""

    def __init__(self, reason: Drop) -> None:
        super().__init__(reason)
        self.reason = reason


class Translator:
    """`served` are the prefixes in 4via6 form, `mtu` is that of the IPv6 side. Nothing that comes in raises."""

    def __init__(self, served: Iterable[IPv6Network], pool: IPv4Network, mtu: int = MIN_V6_MTU) -> None:
        self._served = tuple((int(each.network_address), int(each.netmask)) for each in served)
        self._never = tuple((int(each.network_address), int(each.netmask)) for each in (*NOT_IN_SITES, pool))
        self._mtu = max(mtu, MIN_V6_MTU)
        self._identification = 0
        self._errors = TokenBucket(ERRORS_PER_S, ERRORS_PER_S)
        self.bindings = Bindings(pool)
        self.counters = Counters()

    def translate(self, batch: Iterable[TunPacket], now: float) -> list[TunPacket]:
        """What is to be sent instead. The result shares no memory with what came."""
        out: list[TunPacket] = []
        for datagram in batch:
            try:
                version = datagram.data[0] >> 4 if len(datagram.data) else 0
                if version == 6:
                    self._from_v6(datagram, now, out)
                elif version == 4:
                    self._from_v4(datagram, now, out)
                else:
                    raise _Dropped(Drop.MALFORMED)
            except _Dropped as dropped:
                self.counters.dropped[dropped.reason] += 1
            except DecodeError:
                self.counters.dropped[Drop.MALFORMED] += 1
        return out

    # --- toward the site

    def _from_v6(self, datagram: TunPacket, now: float, out: list[TunPacket]) -> None:
        head = parse_v6(datagram.data)
        if head.destination[:8] != VIA:
            raise _Dropped(Drop.NOT_SERVED)
        if _is_no_sender(head.source):
            raise _Dropped(Drop.FORBIDDEN)
        if self._is_never(head.destination[12:]):
            self._send_error(datagram, head, _PROHIBITED, now, out)
            raise _Dropped(Drop.FORBIDDEN)
        if head.protocol == ICMP6:
            out.append(TunPacket(self._icmp_to_v4(datagram, head, now)))
        else:
            _check_offload(datagram, head, ICMP)
            out.append(self._plain_to_v4(datagram, head, now))
        self.counters.to_v4 += 1

    def _plain_to_v4(self, datagram: TunPacket, head: Head, now: float) -> TunPacket:
        segment = _segment_bytes(datagram, head)
        new = self._v4_head(head, self._bind(head, now), segment, datagram)
        change = ones_sum(new.source + new.destination) - ones_sum(head.source + head.destination)
        data = _joined(encode_v4(new, head.length), datagram, head)
        if head.protocol in FIELD_AT and not head.offset:
            if head.protocol == UDP and not datagram.needs_checksum and not has_checksum(data, V4_HEADER):
                raise _Dropped(Drop.NO_CHECKSUM)
            adjust(data, V4_HEADER, head.protocol, change, partial=datagram.needs_checksum)
        return _turned(datagram, data, V4_HEADER, head.protocol)

    def _v4_head(self, head: Head, source: bytes, segment: int, datagram: TunPacket) -> Head:
        """RFC 7915 5.1: what fits into an IPv6 packet of the least MTU may be cut on its way."""
        identification = head.identification
        if not head.fragment:
            identification = self._identification
            pieces = -(-head.length // datagram.gso_size) if datagram.gso_size else 1
            self._identification = (identification + pieces) & 0xFFFF
        whole = not head.fragment and V4_HEADER + segment > MIN_V6_MTU - GROWTH
        return Head(
            source, head.destination[12:], head.traffic_class, head.hop_limit, head.protocol, 0, 0,
            head.fragment, head.offset, head.more, identification, whole,
        )  # fmt: skip

    def _bind(self, head: Head, now: float) -> bytes:
        address = self.bindings.bind(head.source + head.destination[8:12], now)
        if address is None:
            raise _Dropped(Drop.POOL_FULL)
        return address

    def _icmp_to_v4(self, datagram: TunPacket, head: Head, now: float) -> bytes:
        body, kind, code, rest = _icmp_parts(datagram, head, 6)
        if kind in ECHO_BACK:
            new = self._v4_head(head, self._bind(head, now), head.length, datagram)._replace(protocol=ICMP)
            return packet(new, ECHO_BACK[kind], 0, bytes(body[4:]), 4)
        error = error_to_v4(Error(kind, code, rest), self._mtu)
        if error is None:
            raise _Dropped(Drop.UNTRANSLATABLE)
        quoted = quotation(body, kind, rest, 6)
        inner = parse_v6(quoted, quoted=True)
        site = inner.source[8:12]
        address = self.bindings.find(inner.destination + site)
        if inner.source[:8] != VIA or address is None:
            raise _Dropped(Drop.UNBOUND)
        protocol = ICMP if inner.protocol == ICMP6 else inner.protocol
        turned = turned_quotation(
            quoted, inner, inner._replace(source=inner.source[12:], destination=address, protocol=protocol), 4
        )
        sender = self.bindings.find(head.source + site) or address
        return error_packet(sender, head.destination[12:], error, turned, head.traffic_class)

    # --- back

    def _from_v4(self, datagram: TunPacket, now: float, out: list[TunPacket]) -> None:
        head = parse_v4(datagram.data)
        key = self.bindings.owner(head.destination, now)
        if key is None:
            raise _Dropped(Drop.UNBOUND)
        if self._is_never(head.source):
            raise _Dropped(Drop.FORBIDDEN)
        if head.protocol == ICMP:
            self._echo_or_error_to_v6(datagram, head, key, now, out)
        else:
            _check_offload(datagram, head, ICMP6)
            self._plain_to_v6(datagram, head, key, now, out)
        self.counters.to_v6 += 1

    def _plain_to_v6(self, datagram: TunPacket, head: Head, key: bytes, now: float, out: list[TunPacket]) -> None:
        new = head._replace(source=VIA + key[16:] + head.source, destination=key[:16])
        change = ones_sum(new.source + new.destination) - ones_sum(head.source + head.destination)
        data = _joined(b"", datagram, head)
        if head.protocol in FIELD_AT and not head.offset:
            if head.protocol == UDP and not datagram.needs_checksum and not has_checksum(data, 0):
                if head.is_piece:
                    raise _Dropped(Drop.NO_CHECKSUM)
                fill(data, 0, UDP, new.source + new.destination)
            else:
                adjust(data, 0, head.protocol, change, partial=datagram.needs_checksum)
        self._send_v6(datagram, head, new, data, now, out)

    def _send_v6(
        self, datagram: TunPacket, head: Head, new: Head, data: bytearray, now: float, out: list[TunPacket]
    ) -> None:
        """Whole if it fits, in fragments if it may be cut, else the sender is told."""
        room = self._mtu - V6_HEADER
        if _segment_bytes(datagram, head) + (FRAGMENT_HEADER if head.fragment else 0) <= room:
            start = V6_HEADER + (FRAGMENT_HEADER if head.fragment else 0)
            whole = bytearray(encode_v6(new, len(data)))
            whole += data
            out.append(_turned(datagram, whole, start, head.protocol))
        elif datagram.gso_size and head.protocol == TCP and not head.dont_fragment:
            smaller = room - header_bytes(data, 0, TCP)
            out.append(_turned(datagram, bytearray(encode_v6(new, len(data)) + data), V6_HEADER, TCP, smaller))
        elif head.dont_fragment or datagram.gso_size:
            self._send_error(datagram, head, Error(3, 4, self._mtu - GROWTH), now, out)
            raise _Dropped(Drop.TOO_BIG)
        else:
            if datagram.needs_checksum and head.protocol in FIELD_AT:
                fill(data, 0, head.protocol, new.source + new.destination)
            out.extend(_fragments(new, data, self._mtu))

    def _echo_or_error_to_v6(
        self, datagram: TunPacket, head: Head, key: bytes, now: float, out: list[TunPacket]
    ) -> None:
        body, kind, code, rest = _icmp_parts(datagram, head, 4)
        if kind in ECHO:
            new = head._replace(source=VIA + key[16:] + head.source, destination=key[:16], protocol=ICMP6)
            whole = packet(new, ECHO[kind], 0, bytes(body[4:]), 6)
            self._send_v6(datagram._replace(needs_checksum=False), head, new, bytearray(whole[V6_HEADER:]), now, out)
            return
        quoted = quotation(body, kind, rest, 4)
        inner = parse_v4(quoted, quoted=True)
        error = error_to_v6(Error(kind, code, rest), inner.start + inner.length, self._mtu)
        if error is None:
            raise _Dropped(Drop.UNTRANSLATABLE)
        if self.bindings.owner(inner.source, now) != key:
            raise _Dropped(Drop.UNBOUND)
        asked = VIA + key[16:] + inner.destination
        protocol = ICMP6 if inner.protocol == ICMP else inner.protocol
        turned = turned_quotation(
            quoted, inner, inner._replace(source=key[:16], destination=asked, protocol=protocol), 6
        )
        router = VIA + key[16:] + head.source
        sender = router if self._is_served(router) else asked
        out.append(TunPacket(error_packet(sender, key[:16], error, turned, head.traffic_class)))

    # --- both

    def _send_error(self, datagram: TunPacket, head: Head, error: Error, now: float, out: list[TunPacket]) -> None:
        """Tell the sender, unless that is not allowed (RFC 4443 2.4, RFC 1122 3.2.2) or done too often."""
        is_icmp = head.protocol in (ICMP, ICMP6)
        is_error = is_icmp and not (head.length and datagram.data[head.start] in (*ECHO, *ECHO_BACK))
        if head.offset or is_error or not self._errors.take(now):
            return
        self.counters.errors_sent += 1
        out.append(TunPacket(error_packet(head.destination, head.source, error, datagram.data)))

    def _is_never(self, address: bytes) -> bool:
        value = int.from_bytes(address, "big")
        return any(value & mask == network for network, mask in self._never)

    def _is_served(self, address: bytes) -> bool:
        value = int.from_bytes(address, "big")
        return any(value & mask == network for network, mask in self._served)


def _is_no_sender(source: bytes) -> bool:
    """Multicast, link-local, unspecified and loopback (RFC 4291 2.4)."""
    return source[0] == 0xFF or (source[0] == 0xFE and source[1] & 0xC0 == 0x80) or source[:15] == bytes(15)


def _segment_bytes(datagram: TunPacket, head: Head) -> int:
    """Payload of the IP header, of a super-packet that of its longest part."""
    if not datagram.gso_size:
        return head.length
    return min(head.length, max(datagram.header_bytes - head.start, 0) + datagram.gso_size)


def _check_offload(datagram: TunPacket, head: Head, foreign: int) -> None:
    """`foreign` is the ICMP of the other version, which has no place here."""
    if head.protocol == foreign:
        raise _Dropped(Drop.UNTRANSLATABLE)
    if (datagram.gso_size or datagram.needs_checksum) and (head.protocol not in FIELD_AT or head.fragment):
        raise _Dropped(Drop.MALFORMED)


def _joined(header: bytes, datagram: TunPacket, head: Head) -> bytearray:
    data = bytearray(header)
    data += datagram.data[head.start : head.start + head.length]
    return data


def _icmp_parts(datagram: TunPacket, head: Head, version: int) -> tuple[memoryview, int, int, int]:
    """Body, type, code and second four bytes of a message whose checksum is right."""
    if head.is_piece:
        raise _Dropped(Drop.FRAGMENTED_ICMP)
    body = memoryview(datagram.data)[head.start : head.start + head.length]
    if len(body) < HEAD.size:
        raise DecodeError(DecodeReason.TOO_SHORT, "ICMP")
    if not datagram.needs_checksum and body_sum(head, body, version):
        raise DecodeError(DecodeReason.BAD_VALUE, "ICMP checksum")
    kind, code, _, rest = HEAD.unpack_from(body)
    return body, kind, code, rest


def _turned(datagram: TunPacket, data: bytearray, start: int, protocol: int, gso_size: int = 0) -> TunPacket:
    """The offload's fields for the new header; `gso_size` 0 keeps the size of the parts."""
    if not datagram.gso_size and not datagram.needs_checksum:
        return TunPacket(data)
    kind = datagram.gso_type & ~GSO_ECN
    if kind in (GSO_TCPV4, GSO_TCPV6):
        kind = (GSO_TCPV4 if start == V4_HEADER else GSO_TCPV6) | (datagram.gso_type & GSO_ECN)
    return TunPacket(
        data,
        kind,
        gso_size or datagram.gso_size,
        start + header_bytes(data, start, protocol) if datagram.gso_size else 0,
        start if datagram.needs_checksum else 0,
        FIELD_AT[protocol] if datagram.needs_checksum else 0,
        datagram.needs_checksum,
    )


def _fragments(head: Head, data: bytearray, mtu: int) -> list[TunPacket]:
    """IPv6 fragments of a packet, or of a fragment, that is too long (RFC 8200 4.5)."""
    size = (mtu - V6_HEADER - FRAGMENT_HEADER) & ~7
    found = []
    for at in range(0, len(data), size):
        part = data[at : at + size]
        more = head.more or at + size < len(data)
        new = head._replace(fragment=True, offset=head.offset + at, more=more)
        found.append(TunPacket(encode_v6(new, len(part)) + part))
    return found
