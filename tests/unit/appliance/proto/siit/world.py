"""Packets of a mesh node and of a site's host, read with code of its own (no help from the translator)."""

from __future__ import annotations

import struct
from ipaddress import IPv4Network, IPv6Network, ip_address

from appliance.proto.siit import Translator
from appliance.types.packets import TunPacket
from tests.contract.packets import ip_packet, reference_sum, tcp, udp

PEER = "fd7a:115c:a1e0::9"
HOST = "192.168.1.5"
SITE = IPv6Network("fd7a:115c:a1e0:b1a:0:7:c0a8:100/120")
VIA_HOST = "fd7a:115c:a1e0:b1a:0:7:c0a8:105"
POOL = IPv4Network("198.18.0.0/18")
PSEUDO = {6: 6, 17: 17, 58: 58}


def translator(mtu: int = 1280, pool: IPv4Network = POOL) -> Translator:
    return Translator((SITE,), pool, mtu)


def one(made: list[TunPacket]) -> bytes:
    assert len(made) == 1
    return bytes(made[0].data)


def ends(packet: bytes) -> tuple[str, str]:
    """Source and destination as text."""
    at = (12, 16, 20) if packet[0] >> 4 == 4 else (8, 24, 40)
    return str(ip_address(packet[at[0] : at[1]])), str(ip_address(packet[at[1] : at[2]]))


def payload(packet: bytes) -> bytes:
    return packet[(packet[0] & 15) * 4 :] if packet[0] >> 4 == 4 else packet[40:]


def protocol(packet: bytes) -> int:
    return packet[9] if packet[0] >> 4 == 4 else packet[6]


def assert_sound(packet: bytes) -> None:
    """Lengths and every checksum are right."""
    source, destination = (ip_address(text).packed for text in ends(packet))
    body, number = payload(packet), protocol(packet)
    if packet[0] >> 4 == 4:
        assert struct.unpack(">H", packet[2:4])[0] == len(packet)
        assert reference_sum(packet[:20]) == 0xFFFF
    else:
        assert struct.unpack(">H", packet[4:6])[0] == len(packet) - 40
    if number == 1:
        assert reference_sum(body) == 0xFFFF
    elif number in PSEUDO:
        assert reference_sum(source + destination + struct.pack(">II", len(body), number) + body) == 0xFFFF


def icmp(source: str, destination: str, kind: int, code: int, rest: bytes) -> bytes:
    """Version by the addresses; `rest` is all after the checksum."""
    a, b = ip_address(source), ip_address(destination)
    number = 1 if a.version == 4 else 58
    bare = bytes((kind, code, 0, 0)) + rest
    pseudo = b"" if a.version == 4 else a.packed + b.packed + struct.pack(">II", len(bare), 58)
    total = struct.pack(">H", 0xFFFF ^ reference_sum(pseudo + bare))
    return ip_packet(source, destination, number, bare[:2] + total + bare[4:])


def with_flags(packet: bytes, flags: int) -> bytes:
    """An IPv4 packet with other flags and fragment offset."""
    header = packet[:6] + struct.pack(">H", flags) + packet[8:10] + b"\0\0" + packet[12:20]
    return header[:10] + struct.pack(">H", 0xFFFF ^ reference_sum(header)) + header[12:] + packet[20:]


KNOWN = TunPacket(udp(PEER, VIA_HOST, b""))
"""Gives the peer its address toward the site."""
STAND_IN = ends(one(translator().translate([KNOWN], 0.0)))[0]
PACKETS = (
    udp(PEER, VIA_HOST, b"data" * 20),
    tcp(PEER, VIA_HOST, b"data" * 20),
    icmp(PEER, VIA_HOST, 128, 0, b"\0\1\0\2ping"),
    icmp(PEER, VIA_HOST, 1, 0, bytes(4) + udp(VIA_HOST, PEER, b"data")),
    udp(HOST, STAND_IN, b"data" * 20),
    icmp(HOST, STAND_IN, 3, 3, bytes(4) + udp(STAND_IN, HOST, b"data")),
)
"""Of every kind, in both directions."""
