"""Frames and messages of shared addresses byte by byte, and the kernel's answer on loopback where it may be asked."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_interface

import pytest

from appliance.drivers import shared_address
from appliance.drivers.netlink import LinuxNetlink
from appliance.drivers.netlink_messages import message as netlink_message
from appliance.drivers.shared_address import SharedAddressError, address_body, announce, arp_packet, drop, hold
from appliance.ports.netlink import InterfaceAddress

ADDRESS = IPv4Address("127.99.88.77")
MAC = bytes.fromhex("020000000001")


@pytest.mark.parametrize("operation", [1, 2])
def test_ok__gratuitous_arp(operation: int) -> None:
    frame = arp_packet(operation, MAC, IPv4Address("192.168.30.254"))
    assert frame[:14].hex() == "ffffffffffff" + "020000000001" + "0806"
    assert frame[14:22].hex() == f"00010800060400{operation:02x}"
    assert frame[22:32] == MAC + bytes([192, 168, 30, 254])
    assert frame[32:38] == (b"\xff" * 6 if operation == 2 else bytes(6))
    assert frame[38:] == bytes([192, 168, 30, 254])


def test_ok__message_is_as_long_as_it_says() -> None:
    message = netlink_message(20, 0x505, 1, address_body(20, IPv4Address("192.168.30.254"), 3, "eth1:wp", 12))
    assert int.from_bytes(message[:4], "little") == len(message)
    assert len(message) % 4 == 0
    assert b"eth1:wp\0" in message
    assert (12).to_bytes(4, "little") * 2 in message
    assert b"eth1:wp" not in address_body(21, IPv4Address("192.168.30.254"), 3, "eth1:wp", 0)


async def listed() -> bool:
    netlink = LinuxNetlink()
    try:
        return InterfaceAddress("lo", ip_interface(f"{ADDRESS}/32")) in await netlink.addresses("lo")
    finally:
        await netlink.close()


async def test_ok__held_and_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        hold(ADDRESS, "lo", 5)
    except SharedAddressError:
        pytest.skip("may not change addresses here")
    try:
        hold(ADDRESS, "lo", 5)
        assert not await listed(), "it is not one of the host's own"
        monkeypatch.setattr("appliance.drivers.netlink.SHARED", ":none")
        assert await listed()
        announce(ADDRESS, "lo")
    finally:
        drop(ADDRESS, "lo")
    assert not await listed()
    drop(ADDRESS, "lo")


def test_fail__no_such_interface() -> None:
    drop(ADDRESS, "none0")
    with pytest.raises(SharedAddressError, match="none0"):
        hold(ADDRESS, "none0", 5)
    with pytest.raises(SharedAddressError, match="announce"):
        announce(ADDRESS, "none0")
    assert shared_address.SharedAddressError.code == "shared-address"
