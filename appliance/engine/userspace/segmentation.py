"""Cutting packets of the TUN device into WireGuard slots: super-packets into segments, checksums filled in.

The kernel hands over TCP (TSO) and UDP (USO) super-packets with the fields of virtio_net_hdr; every segment gets its
own lengths, IP id, sequence number, flags and checksums (RFC 9293 3.1, RFC 768; virtio 1.2 section 5.1.6).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from appliance.engine.userspace.inner import TCP, UDP, V4_HEADER, V6_HEADER, pseudo_sum
from appliance.ports.packets import Segments
from appliance.proto.wireguard.messages import TRANSPORT_HEADER_SIZE, TRANSPORT_OVERHEAD, padded_size
from appliance.types.checksums import checksum, ones_sum
from appliance.types.packets import GSO_ECN, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, Buffer, TunPacket

_FIN_PSH = 0x09
_CWR = 0x80
_MAX_SEGMENTS = 2048
_MAX_PACKET = 65535
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")


class BadPacket(Exception):
    """The device handed over something that cannot be cut."""


@dataclass(frozen=True, slots=True)
class _Cut:
    """A super-packet understood: where the transport header begins and ends, and what each segment holds."""

    data: memoryview
    v4: bool
    protocol: int
    transport: int
    header: int
    size: int


def _understand(packet: TunPacket) -> _Cut:
    data = memoryview(packet.data)
    kind = packet.gso_type & ~GSO_ECN
    protocol = {GSO_TCPV4: TCP, GSO_TCPV6: TCP, GSO_UDP_L4: UDP}.get(kind)
    if protocol is None or not V4_HEADER <= len(data) <= _MAX_PACKET:
        raise BadPacket
    v4 = data[0] >> 4 == 4
    transport = packet.csum_start
    if transport < (V4_HEADER if v4 else V6_HEADER) or len(data) < transport + 20:
        raise BadPacket
    header = transport + (8 if protocol == UDP else (data[transport + 12] >> 4) * 4)
    least = 8 if protocol == UDP else 20
    if len(data) <= header or header - transport < least:
        raise BadPacket
    if packet.gso_size <= 0 or -(-(len(data) - header) // packet.gso_size) > _MAX_SEGMENTS:
        raise BadPacket
    return _Cut(data, v4, protocol, transport, header, packet.gso_size)


def split(packet: TunPacket) -> list[bytes]:
    """The segments of a super-packet as separate packets. Raises `BadPacket`."""
    return parts(*slots_of_super(packet, 0))


def parts(slots: Segments, sizes: Sequence[int]) -> list[bytes]:
    """What unsealed slots hold."""
    begin = TRANSPORT_HEADER_SIZE
    return [bytes(slot[begin : begin + size]) for slot, size in zip(slots, sizes, strict=True)]


def slots_of_super(packet: TunPacket, mtu: int) -> tuple[Segments, list[int]]:
    """A super-packet as unsealed slots, with the true size of each segment. Raises `BadPacket`."""
    cut = _understand(packet)
    payload = len(cut.data) - cut.header
    count = -(-payload // cut.size)
    last = cut.header + payload - (count - 1) * cut.size
    full = cut.header + cut.size if count > 1 else last
    stride = TRANSPORT_OVERHEAD + padded_size(full, mtu)
    buffer = bytearray(stride * (count - 1) + TRANSPORT_OVERHEAD + padded_size(last, mtu))
    sizes = [full] * (count - 1) + [last]
    if cut.protocol == TCP:
        _write_tcp(cut, buffer, stride, sizes)
    else:
        _write_udp(cut, buffer, stride, sizes)
    return Segments(buffer, stride), sizes


def _ip_template(cut: _Cut) -> tuple[bytearray, int, int]:
    """The header with lengths, id and checksums zeroed; the IPv4 header's sum of the rest; the first IPv4 id."""
    header = bytearray(cut.data[: cut.header])
    identity = 0
    if cut.v4:
        (identity,) = _U16.unpack_from(header, 4)
        header[2:6] = bytes(4)
        header[10:12] = bytes(2)
    return header, ones_sum(header[: cut.transport]) if cut.v4 else 0, identity


def _write_ip(cut: _Cut, buffer: bytearray, start: int, size: int, ip_sum: int, identity: int) -> None:
    if cut.v4:
        _U16.pack_into(buffer, start + 2, size)
        _U16.pack_into(buffer, start + 4, identity)
        _U16.pack_into(buffer, start + 10, checksum(ip_sum + size + identity))
    else:
        _U16.pack_into(buffer, start + 4, size - V6_HEADER)


def _write_tcp(cut: _Cut, buffer: bytearray, stride: int, sizes: Sequence[int]) -> None:
    header, ip_sum, identity = _ip_template(cut)
    tcp, head, step = cut.transport, cut.header, cut.size
    (sequence,) = _U32.unpack_from(header, tcp + 4)
    flags = header[tcp + 13]
    header[tcp + 4 : tcp + 8] = bytes(4)
    header[tcp + 13] = 0
    header[tcp + 16 : tcp + 18] = bytes(2)
    base = pseudo_sum(header, TCP, 0) + ones_sum(header[tcp:])
    at, last = head, len(sizes) - 1
    for number, size in enumerate(sizes):
        start = number * stride + TRANSPORT_HEADER_SIZE
        payload = cut.data[at : at + step]
        buffer[start : start + head] = header
        buffer[start + head : start + size] = payload
        flag = flags
        if number != last:
            flag &= ~_FIN_PSH
        if number:
            flag &= ~_CWR
        _write_ip(cut, buffer, start, size, ip_sum, (identity + number) & 0xFFFF)
        position = start + tcp
        _U32.pack_into(buffer, position + 4, sequence)
        buffer[position + 13] = flag
        total = base + size - tcp + (sequence >> 16) + (sequence & 0xFFFF) + flag + ones_sum(payload)
        _U16.pack_into(buffer, position + 16, checksum(total))
        sequence = (sequence + step) & 0xFFFFFFFF
        at += step


def _write_udp(cut: _Cut, buffer: bytearray, stride: int, sizes: Sequence[int]) -> None:
    header, ip_sum, identity = _ip_template(cut)
    udp, head, step = cut.transport, cut.header, cut.size
    header[udp + 4 : udp + 8] = bytes(4)
    base = pseudo_sum(header, UDP, 0) + ones_sum(header[udp:])
    at = head
    for number, size in enumerate(sizes):
        start = number * stride + TRANSPORT_HEADER_SIZE
        payload = cut.data[at : at + step]
        buffer[start : start + head] = header
        buffer[start + head : start + size] = payload
        _write_ip(cut, buffer, start, size, ip_sum, (identity + number) & 0xFFFF)
        length = size - udp
        _U16.pack_into(buffer, start + udp + 4, length)
        _U16.pack_into(buffer, start + udp + 6, checksum(base + 2 * length + ones_sum(payload)))
        at += step


def checksum_fits(packet: TunPacket) -> bool:
    """Whether the checksum that is left to us lies inside the packet."""
    size = len(packet.data)
    return packet.csum_start < size and packet.csum_start + packet.csum_offset + 2 <= size


def with_checksum(packet: TunPacket) -> bytes:
    """A plain packet whose transport checksum the kernel left to us. Raises `BadPacket`."""
    if not checksum_fits(packet):
        raise BadPacket
    data = bytearray(packet.data)
    field = packet.csum_start + packet.csum_offset
    _U16.pack_into(data, field, checksum(ones_sum(data[packet.csum_start :])))
    return bytes(data)


def slots_of_group(packets: Sequence[TunPacket], mtu: int) -> tuple[list[Segments], int, int]:
    """Packets of any kind in order as unsealed slots, the bytes in them, and how many packets cannot be cut."""
    batches: list[Segments] = []
    singles: list[Buffer] = []
    payload_bytes = bad = 0
    for packet in packets:
        try:
            if packet.gso_size:
                slots, sizes = slots_of_super(packet, mtu)
                batches += _slots_of_singles(singles, mtu)
                batches.append(slots)
                payload_bytes += sum(sizes)
            else:
                singles.append(with_checksum(packet) if packet.needs_checksum else packet.data)
                payload_bytes += len(packet.data)
        except BadPacket:
            bad += 1
    return batches + _slots_of_singles(singles, mtu), payload_bytes, bad


def _slots_of_singles(singles: list[Buffer], mtu: int) -> list[Segments]:
    """The packets that waited, which are taken off the list."""
    slots = [slots_of_run(run, mtu) for run in runs(singles, mtu)]
    singles.clear()
    return slots


def slots_of_run(packets: Sequence[Buffer], mtu: int) -> Segments:
    """Packets of one padded size (the last may be shorter) as unsealed slots."""
    stride = TRANSPORT_OVERHEAD + padded_size(len(packets[0]), mtu)
    last = TRANSPORT_OVERHEAD + padded_size(len(packets[-1]), mtu)
    buffer = bytearray(stride * (len(packets) - 1) + last)
    for number, packet in enumerate(packets):
        start = number * stride + TRANSPORT_HEADER_SIZE
        buffer[start : start + len(packet)] = packet
    return Segments(buffer, stride)


def runs(packets: Sequence[Buffer], mtu: int) -> Iterator[Sequence[Buffer]]:
    """Cut a sequence into runs that one segmented send can carry: equal padded sizes, the last may be smaller."""
    begin = 0
    for index in range(1, len(packets) + 1):
        if index == len(packets):
            yield packets[begin:index]
            return
        first, before, size = (padded_size(len(packets[at]), mtu) for at in (begin, index - 1, index))
        if size > first or before < first:
            yield packets[begin:index]
            begin = index
