"""ICMP echo by hand-made packets, and under hostile input."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.proto.icmp import Echo, encode_request, parse_reply
from appliance.types.errors import DecodeError, DecodeReason

ECHO = Echo(0x1234, 1, b"abcde")
IP_HEADER = bytes([0x45]) + bytes(19)


def test_ok__request_of_ipv4_has_a_right_checksum() -> None:
    packet = encode_request(4, Echo(1, 9, b"abcdefghijklmnopqrstuvwabcdefghi"))
    assert packet[:8].hex() == "08004d5200010009"  # of a Windows ping, as textbooks show it
    odd = encode_request(4, ECHO) + b"\0"
    total = sum(struct.unpack(f">{len(odd) // 2}H", odd))
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF


def test_ok__request_of_ipv6_leaves_the_checksum_to_the_kernel() -> None:
    assert encode_request(6, ECHO).hex() == "8000000012340001" + b"abcde".hex()


@pytest.mark.parametrize(("version", "start", "kind"), [(4, IP_HEADER, 0), (6, b"", 129)])
def test_ok__reply(version: int, start: bytes, kind: int) -> None:
    packet = start + bytes([kind]) + encode_request(version, ECHO)[1:]
    assert parse_reply(version, packet) == ECHO


@pytest.mark.parametrize(
    ("version", "packet", "reason"),
    [
        (4, b"", DecodeReason.TOO_SHORT),
        (4, IP_HEADER + bytes(7), DecodeReason.TOO_SHORT),
        (4, bytes([0x41]) + bytes(60), DecodeReason.TOO_SHORT),
        (4, IP_HEADER + encode_request(4, ECHO), DecodeReason.BAD_TYPE),
        (6, bytes([129, 1]) + bytes(6), DecodeReason.BAD_TYPE),
        (6, bytes(7), DecodeReason.TOO_SHORT),
    ],
)
def test_fail__no_reply(version: int, packet: bytes, reason: DecodeReason) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_reply(version, packet)
    assert caught.value.reason is reason


@given(st.sampled_from([4, 6]), st.binary(max_size=64))
@settings(max_examples=150)
def test_ok__noise_raises_nothing_else(version: int, noise: bytes) -> None:
    with contextlib.suppress(DecodeError):
        parse_reply(version, noise)
