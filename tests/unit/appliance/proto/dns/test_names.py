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


HEADER = bytes(12)


def test_ok__from_the_wire() -> None:
    data = HEADER + b"\x01A\x07EXAMPLE\0\x01b\xc0\x0e\x02x.\xc0\x0c"
    assert read_name(data, 12) == ("a.example", 23)
    assert read_name(data, 23) == ("b.example", 27)
    assert read_name(data, 27) == ("x\\046.a.example", 32)


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
    data = HEADER + b"\0" + b"".join((0xC000 | max(at - 2, 12)).to_bytes(2, "big") for at in range(13, 400, 2))
    assert read_name(data, 13 + 2 * 63) == ("", 13 + 2 * 64)
    with pytest.raises(DecodeError):
        read_name(data, len(data) - 2)


@pytest.mark.parametrize(
    "pointer",
    [b"\xc0\x0b", b"\xc0\x10", b"\xc0\x11", b"\xc0\x12"],
    ids=["into the header", "over the pointer", "to itself", "ahead"],
)
def test_fail__a_name_points_to_none_before_it(pointer: bytes) -> None:
    data = HEADER + b"\x01a\0\0\x02" + pointer + b"\0\0"
    with pytest.raises(DecodeError):
        read_name(data, 17)


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
