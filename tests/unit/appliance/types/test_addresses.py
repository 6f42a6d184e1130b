"""Addresses and prefixes: text forms, IPv4-mapped, the overlay's ranges (node-os spec 1.1)."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.types.addresses import (
    AddrPort,
    addr_port_from,
    encode_mapped,
    in_overlay,
    is_overlay,
    is_single,
    literal,
    parse_addr_port,
    parse_mapped,
    parse_prefix,
    unmap,
)
from appliance.types.errors import DecodeError


@given(st.ip_addresses(), st.integers(0, 65535))
def test_ok__addr_port_round_trip(address: object, port: int) -> None:
    made = addr_port_from(address, port)
    assert parse_addr_port(str(made)) == made


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("192.0.2.1:1", AddrPort("192.0.2.1", 1)),
        ("[2001:db8::1]:65535", AddrPort("2001:db8::1", 65535)),
        ("[::ffff:192.0.2.1]:80", AddrPort("192.0.2.1", 80)),
        ("[fe80::1%eth0]:7", AddrPort("fe80::1", 7)),
    ],
)
def test_ok__addr_port(text: str, made: AddrPort) -> None:
    assert parse_addr_port(text) == made


@pytest.mark.parametrize("text", ["", ":", "1.2.3.4", "1.2.3.4:", "1.2.3.4:70000", "::1:80", "[1.2.3.4]:80", "a:80"])
def test_fail__addr_port(text: str) -> None:
    with pytest.raises(DecodeError):
        parse_addr_port(text)


def test_ok__unmap() -> None:
    assert unmap(ip_address("::ffff:192.0.2.1")) == ip_address("192.0.2.1")
    assert unmap(ip_address("2001:db8::1")) == ip_address("2001:db8::1")


def test_ok__prefixes() -> None:
    assert is_single(parse_prefix("100.64.0.1"))
    assert not is_single(parse_prefix("10.0.0.0/8"))


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/33", "x", "fd7a::/129"])
def test_fail__prefix(text: str) -> None:
    with pytest.raises(DecodeError):
        parse_prefix(text)


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("100.64.0.0", True),
        ("100.127.255.255", True),
        ("100.128.0.0", False),
        ("100.115.92.7", False),
        ("fd7a:115c:a1e0::1", True),
        ("fd7a:115c:a1e1::1", False),
    ],
)
def test_ok__overlay_ranges(text: str, inside: bool) -> None:
    assert is_overlay(ip_address(text)) is inside


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("100.64.7.0/24", True),
        ("100.0.0.0/8", True),
        ("0.0.0.0/0", True),
        ("100.128.0.0/10", False),
        ("fd7a:115c:a1e0:b1a::/64", True),
        ("fd7a::/16", True),
        ("fd7b::/16", False),
    ],
)
def test_ok__prefixes_that_touch_the_overlay(text: str, inside: bool) -> None:
    assert in_overlay(parse_prefix(text)) is inside


@pytest.mark.parametrize(
    ("endpoint", "data"),
    [
        (AddrPort("192.0.2.9", 41641), "00000000000000000000ffffc0000209a2a9"),
        (AddrPort("2001:db8::9", 1), "20010db80000000000000000000000090001"),
    ],
)
def test_ok__endpoints_in_18_bytes(endpoint: AddrPort, data: str) -> None:
    assert encode_mapped(endpoint).hex() == data
    assert parse_mapped(b"head" + bytes.fromhex(data), 4) == endpoint


def test_ok__literals() -> None:
    assert literal("192.0.2.1") == ip_address("192.0.2.1")
    assert literal("fd7a::1") == ip_address("fd7a::1")
    assert [literal(text) for text in ("", "none", "gateway-b", "192.0.2.0/24", "[fd7a::1]")] == [None] * 5
