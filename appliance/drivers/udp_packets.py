"""UDP datagrams and whole packets as raw sockets take and give them (RFC 768, RFC 791, RFC 8200). Pure."""

from __future__ import annotations

import socket
import struct

from appliance.types.addresses import AddrPort

_UDP = struct.Struct(">HHHH")
_PROTOCOL = 17


def udp_datagram(source: AddrPort, to: AddrPort, payload: bytes) -> bytes:
    """Header and payload, with the checksum."""
    length = _UDP.size + len(payload)
    pseudo = _packed(source) + _packed(to) + struct.pack(">II", length, _PROTOCOL)
    checked = pseudo + _UDP.pack(source.port, to.port, length, 0) + payload
    total = int.from_bytes(checked + bytes(len(checked) % 2), "big") % 0xFFFF
    return _UDP.pack(source.port, to.port, length, 0xFFFF - total or 0xFFFF) + payload


def ip_packet(source: AddrPort, to: AddrPort, payload: bytes) -> bytes:
    """A whole packet for this host. IPv4: no UDP checksum, and the kernel fills the header's own."""
    length = _UDP.size + len(payload)
    if not source.is_v6:
        header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, _PROTOCOL, 0) + _packed(source) + _packed(to)
        return header + _UDP.pack(source.port, to.port, length, 0) + payload
    header = struct.pack(">IHBB", 0x60000000, length, _PROTOCOL, 64) + _packed(source) + _packed(to)
    return header + udp_datagram(source, to, payload)


def parse_datagram(packet: bytes, start: int = 0) -> tuple[int, int, bytes] | None:
    """Source port, destination port and payload of the UDP datagram at `start`; None when it is none."""
    if start < 0 or len(packet) < start + _UDP.size:
        return None
    source, to, length, _ = _UDP.unpack_from(packet, start)
    if not _UDP.size <= length <= len(packet) - start:
        return None
    return source, to, packet[start + _UDP.size : start + length]


def _packed(address: AddrPort) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if address.is_v6 else socket.AF_INET, address.ip)
