"""Checksums of TCP and UDP, which cover the IP addresses (RFC 9293 3.1, RFC 768), put right in place.

Both pseudo headers have the same sum but for the addresses. A partial checksum, left to the network card, holds the sum
of the pseudo header alone, not its complement.
"""

from __future__ import annotations

from appliance.proto.siit.datagram import TCP, UDP
from appliance.types.checksums import checksum, ones_sum
from appliance.types.errors import DecodeError, DecodeReason

FIELD_AT = {TCP: 16, UDP: 6}


def adjust(packet: bytearray, start: int, protocol: int, change: int, *, partial: bool) -> None:
    """`change`: sum of the new addresses less that of the old ones. Raises `DecodeError` where the field is cut off."""
    at = start + FIELD_AT[protocol]
    if at + 2 > len(packet):
        raise DecodeError(DecodeReason.TOO_SHORT, "transport header")
    field = packet[at] << 8 | packet[at + 1]
    value = (field + change) % 65535 if partial else checksum(change - field)
    packet[at : at + 2] = value.to_bytes(2, "big")


def fill(packet: bytearray, start: int, protocol: int, addresses: bytes | memoryview) -> None:
    """Set the whole checksum of an unfragmented packet. Raises `DecodeError` where the field is cut off."""
    at = start + FIELD_AT[protocol]
    if at + 2 > len(packet):
        raise DecodeError(DecodeReason.TOO_SHORT, "transport header")
    packet[at : at + 2] = b"\0\0"
    payload = memoryview(packet)[start:]
    packet[at : at + 2] = checksum(ones_sum(addresses) + protocol + len(payload) + ones_sum(payload)).to_bytes(2, "big")


def has_checksum(packet: bytearray, start: int) -> bool:
    """Whether a UDP packet of IPv4 carries one."""
    return packet[start + 6 : start + 8] != b"\0\0"


def header_bytes(packet: bytearray, start: int, protocol: int) -> int:
    """Of TCP with its options, or of UDP."""
    return (packet[start + 12] >> 4) * 4 if protocol == TCP else 8
