import struct

import pytest

from appliance.drivers.udp_packets import ip_packet, parse_datagram, udp_datagram
from appliance.types.addresses import AddrPort


def ones_sum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    return sum(struct.unpack(f">{len(data) // 2}H", data)) % 0xFFFF


def test_ok__checksum_of_ipv6_is_right() -> None:
    packet = ip_packet(AddrPort("2001:db8::9", 4711), AddrPort("::1", 41641), b"odd")
    assert ones_sum(packet[8:40] + struct.pack(">II", 11, 17) + packet[40:]) == 0
    assert packet[46:48] != b"\0\0"


@pytest.mark.parametrize("payload", [b"", b"odd", bytes(range(256))])
def test_ok__checksum_of_ipv4_is_right(payload: bytes) -> None:
    datagram = udp_datagram(AddrPort("192.0.2.1", 4711), AddrPort("198.51.100.2", 9), payload)
    pseudo = bytes((192, 0, 2, 1, 198, 51, 100, 2)) + struct.pack(">HH", 17, len(datagram))
    assert ones_sum(pseudo + datagram) == 0
    assert parse_datagram(datagram) == (4711, 9, payload)


def test_ok__no_checksum_is_never_zero() -> None:
    """0 would mean that there is none."""
    source, to = AddrPort("192.0.2.1", 1), AddrPort("192.0.2.2", 2)
    ordinary = udp_datagram(source, to, b"\0\0")[6:8]
    assert ordinary not in (b"\0\0", b"\xff\xff")
    assert udp_datagram(source, to, ordinary)[6:8] == b"\xff\xff", "its sum is zero"


def test_ok__whole_ipv4_packet_leaves_sums_to_the_kernel() -> None:
    packet = ip_packet(AddrPort("192.0.2.1", 4711), AddrPort("127.0.0.1", 41641), b"data")
    assert packet[:4] == struct.pack(">BBH", 0x45, 0, len(packet))
    assert parse_datagram(packet, 20) == (4711, 41641, b"data")
    assert packet[26:28] == b"\0\0"


@pytest.mark.parametrize("packet", [b"", bytes(7), struct.pack(">HHHH", 1, 2, 7, 0), struct.pack(">HHHH", 1, 2, 9, 0)])
def test_fail__what_is_no_datagram(packet: bytes) -> None:
    assert parse_datagram(packet) is None


def test_ok__padding_after_a_datagram_is_left_off() -> None:
    assert parse_datagram(struct.pack(">HHHH", 1, 2, 9, 0) + b"xy") == (1, 2, b"x")
    assert parse_datagram(b"x", 20) is None
