import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.proto.tsmp import Packet, Rejected, RejectReason, encode_message, refusal
from appliance.types.errors import DecodeError

PORTS = struct.pack(">HH", 40000, 443)
V4 = bytes.fromhex("450000280000400040060000") + bytes((100, 64, 0, 2)) + bytes((192, 168, 20, 10))
V6 = bytes.fromhex("6000000000140640") + ip_address("fd7a::2").packed + ip_address("fd7a::1").packed


@pytest.mark.parametrize(
    ("head", "source", "destination"),
    [
        (V4 + PORTS, "100.64.0.2", "192.168.20.10"),
        (b"\x46" + V4[1:] + bytes(4) + PORTS, "100.64.0.2", "192.168.20.10"),
        (V6 + PORTS, "fd7a::2", "fd7a::1"),
    ],
)
def test_ok__answer_goes_the_other_way_round(head: bytes, source: str, destination: str) -> None:
    answer = refusal(head, RejectReason.ACL)
    assert answer == Packet(ip_address(destination), ip_address(source), Rejected(6, ord("A"), 40000, 443))
    assert encode_message(answer.message) == b"!\x06A" + PORTS


@pytest.mark.parametrize(
    "head",
    [
        b"",
        V4,
        V4[:19],
        V6[:39],
        V6,
        b"\x30" + bytes(50),
        b"\x44" + V4[1:] + PORTS,
        V4[:9] + b"\x11" + V4[10:] + PORTS,
        V4[:6] + b"\x00\x01" + V4[8:] + PORTS,
        V6[:6] + b"\x2c" + V6[7:] + PORTS,
    ],
)
def test_fail__no_start_of_a_tcp_connection(head: bytes) -> None:
    with pytest.raises(DecodeError):
        refusal(head, RejectReason.ACL)


@given(st.binary(max_size=80))
def test_ok__whatever_comes_is_an_answer_or_an_error_of_ours(head: bytes) -> None:
    try:
        assert encode_message(refusal(head, RejectReason.SHIELDS_UP).message)[:3] == b"!\x06S"
    except DecodeError:
        assert not (head[:1] == b"\x45" and head[9:10] == b"\x06" and len(head) > 80)
