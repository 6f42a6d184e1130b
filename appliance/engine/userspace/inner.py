"""What the engine reads of an inner packet: addresses and true length (RFC 791, RFC 8200), and Internet checksums."""

from __future__ import annotations

from appliance.ports.packets import Buffer

V4_HEADER = 20
V6_HEADER = 40
TCP = 6
UDP = 17
TSMP = 99
PROTOCOL_AT = {4: 9, 6: 6}
"""Offset of the IP protocol by IP version; of IPv6 packets the first extension header may stand there."""


def destination(packet: Buffer) -> bytes | None:
    """Packed destination address; None when this is no IP packet."""
    if len(packet) < V4_HEADER:
        return None
    version = packet[0] >> 4
    if version == 4:
        return bytes(packet[16:20])
    return bytes(packet[24:40]) if version == 6 and len(packet) >= V6_HEADER else None


def source(packet: Buffer) -> bytes | None:
    """Packed source address; None when this is no IP packet."""
    if len(packet) < V4_HEADER:
        return None
    version = packet[0] >> 4
    if version == 4:
        return bytes(packet[12:16])
    return bytes(packet[8:24]) if version == 6 and len(packet) >= V6_HEADER else None


def true_length(packet: Buffer) -> int | None:
    """Length by the IP header, without WireGuard's padding; None when it contradicts the packet."""
    if packet[0] >> 4 == 4:
        length = packet[2] << 8 | packet[3]
        return length if V4_HEADER <= length <= len(packet) else None
    length = V6_HEADER + (packet[4] << 8 | packet[5])
    return length if length <= len(packet) else None


def ones_sum(data: Buffer) -> int:
    """Sum of the 16-bit words modulo 65535 (0 stands for 0xFFFF too); an odd last byte counts as a high byte."""
    total = int.from_bytes(data, "big")
    return (total << 8 if len(data) & 1 else total) % 65535


def checksum(total: int) -> int:
    """The field value for a sum of everything else: RFC 1071's complement, with 0xFFFF for an all-zero sum."""
    return 65535 - total % 65535


def pseudo_sum(packet: Buffer, protocol: int, length: int) -> int:
    """Sum of the pseudo header of TCP or UDP."""
    addresses = packet[12:20] if packet[0] >> 4 == 4 else packet[8:40]
    return ones_sum(addresses) + protocol + length
