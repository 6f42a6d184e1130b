"""Frames and messages of shared addresses byte by byte, and the kernel's answer on loopback where it may be asked."""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address, ip_interface

import pytest

from appliance.drivers import shared_address
from appliance.drivers.interface_messages import is_shared
from appliance.drivers.netlink import LinuxNetlink
from appliance.drivers.netlink_messages import message as netlink_message
from appliance.drivers.shared_address import (
    SharedAddressError,
    address_body,
    announce,
    announcement,
    arp_packet,
    drop,
    hold,
    neighbour_packet,
)
from appliance.ports.netlink import InterfaceAddress
from appliance.types.addresses import Address
from appliance.types.checksums import ones_sum

ADDRESSES = [IPv4Address("127.99.88.77"), IPv6Address("fd00:99::fe"), IPv6Address("fe80::99:fe")]
CLONE_NEWNET = 0x40000000
MAC = bytes.fromhex("020000000001")


@pytest.mark.parametrize("operation", [1, 2])
def test_ok__gratuitous_arp(operation: int) -> None:
    frame = arp_packet(operation, MAC, IPv4Address("192.168.30.254"))
    assert frame[:14].hex() == "ffffffffffff" + "020000000001" + "0806"
    assert frame[14:22].hex() == f"00010800060400{operation:02x}"
    assert frame[22:32] == MAC + bytes([192, 168, 30, 254])
    assert frame[32:38] == (b"\xff" * 6 if operation == 2 else bytes(6))
    assert frame[38:] == bytes([192, 168, 30, 254])


def test_ok__unsolicited_neighbour_advertisement() -> None:
    """RFC 4861 sections 4.4, 7.1.2 and 7.2.6: to all nodes, hop limit 255, flags router and override, not solicited."""
    own, all_nodes = IPv6Address("fd00:30::fe").packed, IPv6Address("ff02::1").packed
    frame = neighbour_packet(MAC, IPv6Address("fd00:30::fe"))
    assert frame[:14].hex() == "333300000001" + "020000000001" + "86dd"
    assert frame[14:22].hex() == "60000000" + "0020" + "3a" + "ff"
    assert frame[22:54] == own + all_nodes
    message = frame[54:]
    assert message[:2].hex() == "8800"
    assert message[4:8].hex() == "a0000000"
    assert message[8:] == own + bytes.fromhex("0201") + MAC
    assert ones_sum(own + all_nodes + (32).to_bytes(4, "big") + (58).to_bytes(4, "big") + message) == 0


def test_ok__announcements_by_version() -> None:
    assert [frame[12:14].hex() for frame in announcement(MAC, IPv4Address("192.168.30.254"))] == ["0806", "0806"]
    assert [frame[12:14].hex() for frame in announcement(MAC, IPv6Address("fe80::fe"))] == ["86dd"]


def test_ok__message_is_as_long_as_it_says() -> None:
    message = netlink_message(20, 0x505, 1, address_body(20, IPv4Address("192.168.30.254"), 3, "eth1:wp", 12))
    assert int.from_bytes(message[:4], "little") == len(message)
    assert len(message) % 4 == 0
    assert b"eth1:wp\0" in message
    assert (12).to_bytes(4, "little") * 2 in message
    assert b"eth1:wp\0" in address_body(21, IPv4Address("192.168.30.254"), 3, "eth1:wp", 0), "no other one is removed"


def test_ok__ipv6_message_is_known_again() -> None:
    body = address_body(20, IPv6Address("fd00:30::fe"), 3, "eth1:wp", 12)
    assert is_shared(body)
    assert b"eth1" not in body
    assert not is_shared(address_body(21, IPv6Address("fd00:30::fe"), 3, "eth1:wp", 0))


async def listed(address: Address) -> bool:
    """Among the host's own."""
    netlink = LinuxNetlink()
    try:
        return InterfaceAddress("lo", ip_interface(f"{address}/{address.max_prefixlen}")) in await netlink.addresses()
    finally:
        await netlink.close()


def shown(address: Address) -> str:
    """What the kernel says of it."""
    told = subprocess.run(["ip", "-o", "addr", "show", "dev", "lo"], capture_output=True, text=True, check=True).stdout
    return next((line for line in told.splitlines() if f" {address}/" in line), "")


def in_own_network(work: Callable[[], None]) -> None:
    """Run it in a thread with a network namespace of its own: nothing here can touch the machine's addresses."""

    def enter() -> None:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
            pytest.skip(f"may not make a network namespace: {os.strerror(ctypes.get_errno())}")
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        work()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(enter).result()


@pytest.mark.parametrize("address", ADDRESSES, ids=str)
def test_ok__held_and_dropped(address: Address) -> None:
    def work() -> None:
        hold(address, "lo", 5)
        hold(address, "lo", 9)
        assert not asyncio.run(listed(address)), "it is not one of the host's own"
        assert "valid_lft" in shown(address)
        assert "forever" not in shown(address)
        assert "tentative" not in shown(address), "it answers at once"
        announce(address, "lo")
        drop(address, "lo")
        assert shown(address) == ""
        drop(address, "lo")

    in_own_network(work)


def test_fail__no_address_of_the_host_is_touched() -> None:
    def work() -> None:
        own = IPv6Address("::1")
        assert shown(own)
        drop(own, "lo")
        with pytest.raises(SharedAddressError, match="own"):
            hold(own, "lo", 5)
        assert "forever" in shown(own)
        drop(IPv4Address("127.0.0.1"), "lo")
        assert shown(IPv4Address("127.0.0.1"))

    in_own_network(work)


@pytest.mark.parametrize("address", ADDRESSES, ids=str)
def test_fail__no_such_interface(address: Address) -> None:
    drop(address, "none0")
    with pytest.raises(SharedAddressError, match="none0"):
        hold(address, "none0", 5)
    with pytest.raises(SharedAddressError, match="announce"):
        announce(address, "none0")
    assert shared_address.SharedAddressError.code == "shared-address"
