from ipaddress import ip_address

import pytest

from appliance.engine.userspace.inner import destination, source, true_length
from tests.contract.packets import udp


def test_ok__addresses_and_length() -> None:
    for a, b in (("10.0.0.1", "10.0.0.2"), ("fd7a::1", "fd7a::2")):
        packet = udp(a, b, b"hello")
        assert source(packet) == ip_address(a).packed
        assert destination(packet) == ip_address(b).packed
        assert true_length(packet + bytes(11)) == len(packet)
        assert true_length(packet[:-1]) is None


@pytest.mark.parametrize("packet", [b"", b"\x45" * 19, b"\x60" + bytes(38), b"\x50" + bytes(60)])
def test_fail__no_ip(packet: bytes) -> None:
    assert destination(packet) is None
    assert source(packet) is None


def test_fail__a_v4_length_below_the_header() -> None:
    assert true_length(b"\x45\x00\x00\x13" + bytes(40)) is None
