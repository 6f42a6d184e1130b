"""Inner packets for tests, made and checked with code of their own (word by word, as RFC 1071 shows it)."""

from __future__ import annotations

import struct
from ipaddress import ip_address

from appliance.types.packets import TunPacket


def reference_sum(data: bytes) -> int:
    """One's complement sum of 16-bit words, folded."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def ip_packet(source: str, destination: str, protocol: int, payload: bytes, identity: int = 7) -> bytes:
    """An IPv4 or IPv6 packet with right length and header checksum."""
    a, b = ip_address(source), ip_address(destination)
    if a.version == 6:
        return struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64) + a.packed + b.packed + payload
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), identity, 0x4000, 64, protocol, 0)
    header += a.packed + b.packed
    total = 0xFFFF ^ reference_sum(header)
    return header[:10] + struct.pack(">H", total) + header[12:] + payload


def _pseudo(source: str, destination: str, protocol: int, length: int) -> bytes:
    return ip_address(source).packed + ip_address(destination).packed + struct.pack(">II", length, protocol)


def udp(source: str, destination: str, payload: bytes, ports: tuple[int, int] = (1000, 2000)) -> bytes:
    header = struct.pack(">HHHH", *ports, 8 + len(payload), 0)
    total = 0xFFFF ^ reference_sum(_pseudo(source, destination, 17, 8 + len(payload)) + header + payload)
    return ip_packet(source, destination, 17, header[:6] + struct.pack(">H", total or 0xFFFF) + payload)


def tcp(
    source: str,
    destination: str,
    payload: bytes,
    *,
    sequence: int = 1,
    acknowledgment: int = 1,
    flags: int = 0x10,
    options: bytes = b"",
    port: int = 1000,
    identity: int = 7,
) -> bytes:
    words = (5 + len(options) // 4) << 4
    header = struct.pack(">HHIIBBHHH", port, 2000, sequence, acknowledgment, words, flags, 512, 0, 0) + options
    segment = header + payload
    total = 0xFFFF ^ reference_sum(_pseudo(source, destination, 6, len(segment)) + segment)
    segment = segment[:16] + struct.pack(">H", total) + segment[18:]
    return ip_packet(source, destination, 6, segment, identity)


def super_tcp(source: str, destination: str, payload: bytes, step: int, **fields: int | bytes) -> TunPacket:
    """A TSO super-packet as the kernel hands it over: the checksum field holds the pseudo header's sum."""
    whole = bytearray(tcp(source, destination, payload, **fields))  # type: ignore[arg-type]  # each test names fields
    start = 20 if whole[0] >> 4 == 4 else 40
    partial = reference_sum(_pseudo(source, destination, 6, len(whole) - start))
    struct.pack_into(">H", whole, start + 16, partial)
    header = start + (whole[start + 12] >> 4) * 4
    return TunPacket(bytes(whole), 1 if start == 20 else 4, step, header, start, 16, True)


def super_udp(source: str, destination: str, payload: bytes, step: int) -> TunPacket:
    whole = bytearray(udp(source, destination, payload))
    start = 20 if whole[0] >> 4 == 4 else 40
    return TunPacket(bytes(whole), 5, step, start + 8, start, 6, True)


def valid(packet: bytes) -> bool:
    """Whether lengths and checksums of a TCP or UDP packet are right."""
    if packet[0] >> 4 == 4:
        start, protocol = 20, packet[9]
        if reference_sum(packet[:20]) != 0xFFFF or struct.unpack_from(">H", packet, 2)[0] != len(packet):
            return False
    else:
        start, protocol = 40, packet[6]
        if struct.unpack_from(">H", packet, 4)[0] != len(packet) - 40:
            return False
    addresses = packet[12:20] if start == 20 else packet[8:40]
    body = packet[start:]
    if protocol == 17 and struct.unpack_from(">H", body, 4)[0] != len(body):
        return False
    return reference_sum(addresses + struct.pack(">II", len(body), protocol) + body) == 0xFFFF
