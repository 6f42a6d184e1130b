"""What the engine reads of an inner packet: addresses and true length (RFC 791, RFC 8200), pseudo header sums."""

from __future__ import annotations

from appliance.types.checksums import ones_sum
from appliance.types.packets import Buffer

V4_HEADER = 20
V6_HEADER = 40
TCP = 6
UDP = 17
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


def pseudo_sum(packet: Buffer, protocol: int, length: int) -> int:
    """Sum of the pseudo header of TCP or UDP."""
    addresses = packet[12:20] if packet[0] >> 4 == 4 else packet[8:40]
    return ones_sum(addresses) + protocol + length
