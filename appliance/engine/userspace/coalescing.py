"""Joining received TCP segments of one flow into a super-packet for one write to the TUN device.

Only neighbours that a cut would give back exactly are joined: same headers but for lengths, IPv4 id, sequence, PSH and
checksums; consecutive sequence numbers; verified checksums. The order within a flow is kept (virtio 1.2 section 5.1.6).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from appliance.engine.userspace.inner import TCP, V4_HEADER, V6_HEADER, pseudo_sum
from appliance.types.checksums import checksum, ones_sum
from appliance.types.packets import GSO_TCPV4, GSO_TCPV6, TunPacket

_MAX_SUPER = 65535
_ACK = 0x10
_PSH = 0x08
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")


class _Joined:
    """One packet, to which its successors may be added."""

    __slots__ = ("closed", "first", "header", "next_sequence", "payloads", "push", "signature", "size", "step", "v4")

    def __init__(self, packet: memoryview) -> None:
        self.first = packet
        self.payloads: list[memoryview] = []
        self.signature = b""
        self.closed = True
        self.push = 0
        self.v4 = True
        self.header = self.step = self.size = self.next_sequence = 0


def _checksum_ok(packet: memoryview, tcp: int) -> bool:
    return (pseudo_sum(packet, TCP, len(packet) - tcp) + ones_sum(packet[tcp:])) % 65535 == 0


def coalesce(packets: Sequence[memoryview]) -> list[TunPacket]:
    """The packets in order, with joinable TCP neighbours joined. Each is a whole IP packet without padding."""
    joined: list[_Joined] = []
    open_flows: dict[bytes, _Joined] = {}
    for packet in packets:
        _add(packet, joined, open_flows)
    return [_finish(item) for item in joined]


def _add(packet: memoryview, joined: list[_Joined], open_flows: dict[bytes, _Joined]) -> None:
    item = _Joined(packet)
    if packet[0] == 0x45:
        tcp, is_tcp = V4_HEADER, packet[9] == TCP and not (packet[6] & 0x3F or packet[7])
    else:
        tcp, is_tcp = V6_HEADER, packet[0] >> 4 == 6 and packet[6] == TCP
    if not is_tcp or len(packet) < tcp + 20:
        joined.append(item)
        return
    item.v4 = tcp == V4_HEADER
    flow = bytes(packet[12:24] if item.v4 else packet[8:44])
    header = tcp + (packet[tcp + 12] >> 4) * 4
    payload = len(packet) - header
    flags = packet[tcp + 13]
    if payload <= 0 or header < tcp + 20 or flags & ~_PSH != _ACK:
        open_flows.pop(flow, None)
        joined.append(item)
        return
    (sequence,) = _U32.unpack_from(packet, tcp + 4)
    item.signature = _signature(packet, tcp, header)
    before = open_flows.get(flow)
    if before is not None and _extend(before, packet, item.signature, sequence, header, tcp, flags):
        if before.closed:
            del open_flows[flow]
        return
    item.header, item.step, item.size, item.push = header, payload, len(packet), flags & _PSH
    item.next_sequence = (sequence + payload) & 0xFFFFFFFF
    item.closed = bool(item.push)
    joined.append(item)
    open_flows.pop(flow, None)
    if not item.closed:
        open_flows[flow] = item


def _signature(packet: memoryview, tcp: int, header: int) -> bytes:
    """All that must be equal: service class, flags, hop limit, acknowledgment, window, urgent pointer, options."""
    ip = bytes(packet[1:2]) + bytes(packet[6:9]) if tcp == V4_HEADER else bytes(packet[0:4]) + bytes(packet[7:8])
    return b"".join((ip, packet[tcp + 8 : tcp + 13], packet[tcp + 14 : tcp + 16], packet[tcp + 18 : header]))


def _extend(
    item: _Joined, packet: memoryview, signature: bytes, sequence: int, header: int, tcp: int, flags: int
) -> bool:
    payload = len(packet) - header
    if (
        item.signature != signature
        or item.next_sequence != sequence
        or payload > item.step
        or item.size + payload > _MAX_SUPER
        or not _checksum_ok(packet, tcp)
        or not (item.payloads or _checksum_ok(item.first, tcp))
    ):
        return False
    item.payloads.append(packet[header:])
    item.size += payload
    item.next_sequence = (sequence + payload) & 0xFFFFFFFF
    item.push = flags & _PSH
    item.closed = payload < item.step or bool(item.push)
    return True


def _finish(item: _Joined) -> TunPacket:
    if not item.payloads:
        return TunPacket(item.first)
    tcp = V4_HEADER if item.v4 else V6_HEADER
    header = bytearray(item.first[: item.header])
    if item.v4:
        _U16.pack_into(header, 2, item.size)
        header[10:12] = bytes(2)
        _U16.pack_into(header, 10, checksum(ones_sum(header[:tcp])))
    else:
        _U16.pack_into(header, 4, item.size - V6_HEADER)
    header[tcp + 13] |= item.push
    # The kernel finishes the sum when it must: the field holds the pseudo header's part only.
    _U16.pack_into(header, tcp + 16, pseudo_sum(header, TCP, item.size - tcp) % 65535)
    return TunPacket(
        b"".join((header, item.first[item.header :], *item.payloads)),
        gso_type=GSO_TCPV4 if item.v4 else GSO_TCPV6,
        gso_size=item.step,
        header_bytes=item.header,
        csum_start=tcp,
        csum_offset=16,
        needs_checksum=True,
    )
