"""Link and address messages, byte by byte."""

import struct
from ipaddress import ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.drivers.interface_messages import (
    address_payload,
    is_shared,
    link_payload,
    parse_address,
    parse_kind,
    parse_link,
)
from appliance.drivers.netlink_messages import attribute
from appliance.ports.netlink import InterfaceAddress, Link
from appliance.types.errors import DecodeError

NAMES = {3: "eth0"}


def test_ok__a_link_is_changed() -> None:
    up = link_payload(3, up=True, mtu=1280)
    assert up[:16] == struct.pack("=BxHiII", 0, 0, 3, 1, 1)
    assert up[16:] == struct.pack("=HHI", 8, 4, 1280)
    assert link_payload(3, up=False) == struct.pack("=BxHiII", 0, 0, 3, 0, 1)
    assert link_payload(3, mtu=1400)[:16] == struct.pack("=BxHiII", 0, 0, 3, 0, 0)


def test_ok__a_link_is_made_and_found_by_name() -> None:
    made = link_payload(name="wg0", mtu=1280, kind="wireguard")
    assert made[:16] == struct.pack("=BxHiII", 0, 0, 0, 0, 0)
    name, mtu = struct.pack("=HH4s", 8, 3, b"wg0\0"), struct.pack("=HHI", 8, 4, 1280)
    assert made[16:] == name + mtu + struct.pack("=HHHH12s", 20, 0x8000 | 18, 14, 1, b"wireguard\0")
    assert parse_kind(made) == "wireguard"
    assert link_payload(name="wg0")[16:] == name
    assert parse_kind(link_payload(name="wg0")) == ""


def test_ok__a_link_is_listed() -> None:
    told = (
        struct.pack("=BxHiII", 0, 1, 3, 0x1 | 0x40, 0) + attribute(3, b"eth0\0") + attribute(4, struct.pack("=I", 1500))
    )
    assert parse_link(told) == Link(3, "eth0", 1500, up=True, loopback=False, running=True)
    assert parse_link(struct.pack("=BxHiII", 0, 772, 1, 0x8, 0)) == Link(
        1, "", 0, up=False, loopback=True, running=False
    )


@pytest.mark.parametrize("text", ["192.168.1.5/24", "100.64.0.1/32", "fd7a:115c:a1e0::1/128", "2001:db8::9/64"])
def test_ok__an_address_read_back(text: str) -> None:
    address = ip_interface(text)
    made = address_payload(address, 3)
    assert parse_address(made, NAMES) == InterfaceAddress("eth0", address)
    assert not is_shared(made)


def test_ok__layout_and_label() -> None:
    made = address_payload(ip_interface("192.168.1.5/24"), 3)
    assert made == bytes([2, 24, 0, 0]) + struct.pack("=I", 3) + bytes(
        [8, 0, 2, 0, 192, 168, 1, 5, 8, 0, 1, 0, 192, 168, 1, 5]
    )
    assert parse_address(made + attribute(3, b"eth0:1\0"), NAMES) is not None


def test_ok__shared_addresses_are_not_listed() -> None:
    labelled = address_payload(ip_interface("192.168.1.5/32"), 3) + attribute(3, b"eth0:wp\0")
    marked = address_payload(ip_interface("fd00::5/128"), 3) + ipv6_marks(0x2A2, 12)
    for made in (labelled, marked):
        assert is_shared(made)
        assert parse_address(made, NAMES) is None


@pytest.mark.parametrize(
    ("text", "flags", "valid_s"),
    [("fd00::5/64", 0x222, 12), ("fd00::5/128", 0x222, 0xFFFFFFFF), ("fd00::5/128", 0x202, 12), ("fd00::5/128", 0, 12)],
)
def test_ok__addresses_of_other_programs_are_listed(text: str, flags: int, valid_s: int) -> None:
    """Of a LAN, for ever, in use, of a DHCP server."""
    address = ip_interface(text)
    made = address_payload(address, 3) + ipv6_marks(flags, valid_s)
    assert parse_address(made, NAMES) == InterfaceAddress("eth0", address)


def ipv6_marks(flags: int, valid_s: int) -> bytes:
    return attribute(6, struct.pack("=IIII", 0, valid_s, 0, 0)) + attribute(8, struct.pack("=I", flags))


def test_ok__what_is_not_listed() -> None:
    assert parse_address(address_payload(ip_interface("fe80::1/64"), 3), NAMES) is None
    assert parse_address(address_payload(ip_interface("192.168.1.5/24"), 4), NAMES) is None
    assert parse_address(bytes([2, 24, 0, 0]) + struct.pack("=I", 3), NAMES) is None


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        bytes([2, 33, 0, 0]) + struct.pack("=I", 3) + attribute(2, bytes(4)),
        bytes([10, 64, 0, 0]) + struct.pack("=I", 3) + attribute(1, bytes(4)),
    ],
)
def test_fail__addresses(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_address(payload, NAMES)


@given(st.binary(max_size=60))
def test_fail__garbage(noise: bytes) -> None:
    for parse in (parse_link, parse_kind, is_shared, lambda payload: parse_address(payload, NAMES)):
        for payload in (noise, *(bytes([family, 24, 0, 0]) + struct.pack("=I", 3) + noise for family in (2, 10))):
            try:
                parse(payload)
            except DecodeError:
                continue
