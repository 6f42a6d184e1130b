"""Names on the wire and as text."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from appliance.proto.dns import encode_name, from_reverse, is_below, parent, reverse_name
from appliance.proto.dns.names import read_name, skip_name
from appliance.types.errors import DecodeError


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        ("", b"\0"),
        ("a.example.", b"\x01a\x07example\0"),
        ("bücher.example", b"\x0dxn--bcher-kva\x07example\0"),
        ("a\\046b.c", b"\x03a.b\x01c\0"),
        ("_dns._udp.x", b"\x04_dns\x04_udp\x01x\0"),
    ],
)
def test_ok__to_the_wire(text: str, wire: bytes) -> None:
    assert encode_name(text) == wire
    assert skip_name(wire, 0) == len(wire)


def test_ok__from_the_wire() -> None:
    data = b"\x01A\x07EXAMPLE\0\x01b\xc0\x02\x02x.\xc0\x00"
    assert read_name(data, 0) == ("a.example", 11)
    assert read_name(data, 11) == ("b.example", 15)
    assert read_name(data, 15) == ("x\\046.a.example", 20)


@pytest.mark.parametrize("text", ["a..b", "x" * 64, ".".join(["x" * 60] * 5), "a\\300", "a\\04", "\ud800.x"])
def test_fail__no_name(text: str) -> None:
    with pytest.raises(DecodeError):
        encode_name(text)


@pytest.mark.parametrize(
    "data", [b"", b"\x05ab", b"\xc0", b"\xc0\x00", b"\xc0\x05", b"\x40a", (b"\x3f" + b"x" * 63) * 5 + b"\0"]
)
def test_fail__no_name_on_the_wire(data: bytes) -> None:
    with pytest.raises(DecodeError):
        read_name(data, 0)


def test_fail__names_that_jump_for_ever() -> None:
    data = b"\0" + b"".join((0xC000 | max(at - 2, 0)).to_bytes(2, "big") for at in range(1, 400, 2))
    with pytest.raises(DecodeError):
        read_name(data, len(data) - 2)


def test_fail__a_question_points_nowhere() -> None:
    with pytest.raises(DecodeError):
        skip_name(b"\xc0\x00", 0, pointers=False)


@pytest.mark.parametrize("text", ["192.0.2.7", "fd7a:115c:a1e0::53", "100.64.0.1"])
def test_ok__reverse(text: str) -> None:
    assert from_reverse(reverse_name(ip_address(text))) == ip_address(text)


@pytest.mark.parametrize("text", ["1.2.3.in-addr.arpa", "x.ip6.arpa", "1.2.3.999.in-addr.arpa", "a.example", ""])
def test_ok__not_a_reverse_name(text: str) -> None:
    assert from_reverse(text) is None


def test_ok__below() -> None:
    assert is_below("a.b", "b")
    assert is_below("b", "b")
    assert is_below("b", "")
    assert not is_below("ab", "b")
    assert parent("a.b.c") == "b.c"
    assert parent("c") == ""
