"""Packets as bytes, both IP versions, for injection into a TUN device; and the little reading that tests need."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
SYN, ACK = 0x02, 0x10


def checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip_packet(source: str, destination: str, protocol: int, payload: bytes, number: int = 1) -> bytes:
    """`number` goes into the identification (IPv4) or the flow label (IPv6)."""
    first, second = ip_address(source), ip_address(destination)
    if first.version == 6:
        header = struct.pack("!IHBB", 6 << 28 | number, len(payload), protocol, 64)
        return header + first.packed + second.packed + payload
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), number, 0, 64, protocol, 0)
    header += first.packed + second.packed
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def _sealed(source: str, destination: str, protocol: int, payload: bytes, at: int) -> bytes:
    """Fill in the checksum of an upper layer, over the pseudo header."""
    first, second = ip_address(source), ip_address(destination)
    pseudo = first.packed + second.packed
    pseudo += struct.pack("!BBH", 0, protocol, len(payload)) if first.version == 4 else b""
    pseudo += struct.pack("!IHBB", len(payload), 0, 0, protocol) if first.version == 6 else b""
    total = checksum(pseudo + payload)
    return payload[:at] + struct.pack("!H", total) + payload[at + 2 :]


def udp(source: str, destination: str, sport: int, dport: int, data: bytes = b"", number: int = 1) -> bytes:
    payload = struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data
    return ip_packet(source, destination, UDP, _sealed(source, destination, UDP, payload, 6), number)


def tcp(
    source: str, destination: str, sport: int, dport: int, *, flags: int = SYN, mss: int = 0, number: int = 1
) -> bytes:
    options = struct.pack("!BBH", 2, 4, mss) if mss else b""
    offset = (20 + len(options)) // 4 << 4
    payload = struct.pack("!HHIIBBHHH", sport, dport, 1000, 0, offset, flags, 65535, 0, 0) + options
    return ip_packet(source, destination, TCP, _sealed(source, destination, TCP, payload, 16), number)


def echo_request(source: str, destination: str, ident: int, number: int = 1) -> bytes:
    if ip_address(source).version == 4:
        payload = struct.pack("!BBHHH", 8, 0, 0, ident, 1)
        payload = payload[:2] + struct.pack("!H", checksum(payload)) + payload[4:]
        return ip_packet(source, destination, ICMP, payload, number)
    payload = struct.pack("!BBHHH", 128, 0, 0, ident, 1)
    return ip_packet(source, destination, ICMPV6, _sealed(source, destination, ICMPV6, payload, 2), number)


def addresses(packet: bytes) -> tuple[str, str]:
    if packet[0] >> 4 == 4:
        return str(IPv4Address(packet[12:16])), str(IPv4Address(packet[16:20]))
    return str(IPv6Address(packet[8:24])), str(IPv6Address(packet[24:40]))


def upper(packet: bytes) -> tuple[int, bytes]:
    """Protocol and payload of a packet without IPv6 extension headers."""
    if packet[0] >> 4 == 4:
        return packet[9], packet[(packet[0] & 15) * 4 :]
    return packet[6], packet[40:]


def mss_of(segment: bytes) -> int:
    """The MSS option of a TCP segment; 0 without."""
    options = segment[20 : (segment[12] >> 4) * 4]
    while options and options[0]:
        if options[0] == 1:
            options = options[1:]
            continue
        if options[0] == 2:
            return int.from_bytes(options[2:4], "big")
        options = options[options[1] :]
    return 0
