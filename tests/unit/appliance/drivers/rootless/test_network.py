"""A real inner network, made by whoever runs the tests."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface

import pytest

from appliance.drivers.listeners import open_listener
from appliance.drivers.netlink import LinuxNetlink
from appliance.drivers.rootless.network import (
    InnerFirewall,
    InnerNetwork,
    InnerSysctl,
    NetworkLostError,
    refusal,
)
from appliance.drivers.tun import open_tun
from appliance.ports.firewall import FirewallError
from appliance.ports.netlink import InterfaceAddress
from appliance.ports.sysctl import SysctlError
from appliance.types.errors import PrivilegeError


@pytest.fixture
def network() -> Iterator[InnerNetwork]:
    try:
        made = InnerNetwork.start()
    except PrivilegeError as error:
        pytest.skip(error.text)
    with made:
        yield made


async def test_ok__device_addresses_and_low_ports_are_inside(network: InnerNetwork) -> None:
    netlink = LinuxNetlink(network.open_socket)
    try:
        port = open_tun("wpinner", 1300, device=network.open_tun_device, sockets=network.open_socket)
    except PrivilegeError as error:
        pytest.skip(error.text)
    try:
        await netlink.set_link("wpinner", up=True)
        await netlink.apply([], [InterfaceAddress("wpinner", ip_interface("100.64.0.9/32"))])
        assert {link.name: link.mtu for link in await netlink.links()}["wpinner"] == 1300
        assert "wpinner" not in dict(map(reversed, socket.if_nameindex()))  # the host has no such device
        with open_listener(ip_address("100.64.0.9"), 80, sockets=network.open_socket) as listener:
            assert not listener.getblocking()
            assert not listener.get_inheritable()
            with network.open_socket(socket.AF_INET, socket.SOCK_STREAM) as client:
                client.settimeout(5)
                client.connect(("100.64.0.9", 80))
                accepted, source = listener.accept()
                accepted.close()
                assert source[0] == "100.64.0.9"
    finally:
        port.close()
        await netlink.close()


async def test_ok__firewall_and_settings_are_inside(network: InnerNetwork) -> None:
    firewall, settings = InnerFirewall(network), InnerSysctl(network)
    await firewall.apply("table inet probe {\n chain a { }\n}\n")
    assert [item["chain"]["name"] for item in await firewall.ruleset() if "chain" in item] == ["a"]
    with pytest.raises(FirewallError, match="nft refused"):
        await firewall.apply("table inet probe {\n nonsense\n}\n")
    assert await settings.read("net/ipv4/ip_forward") == "0"
    assert "lo" in await settings.children("net/ipv4/conf")
    assert await settings.read("net/no/such") is None
    assert await settings.children("net/no/such") == []


async def test_fail__other_settings_cannot_be_reached(network: InnerNetwork) -> None:
    settings = InnerSysctl(network)
    for key in ("kernel/hostname", "net/../kernel/hostname", "/etc/hostname"):
        assert await settings.read(key) is None
        with pytest.raises(SysctlError, match="cannot set"):
            await settings.write(key, "1")


async def test_fail__a_dead_process_is_an_error_and_is_noticed(network: InnerNetwork) -> None:
    os.kill(network.pid, signal.SIGKILL)
    async with asyncio.timeout(5):
        await network.ended()
    with pytest.raises(NetworkLostError):
        network.open_socket(socket.AF_INET, socket.SOCK_STREAM)
    with pytest.raises(NetworkLostError):
        await InnerFirewall(network).ruleset()
    network.close()
    network.close()


def test_fail__a_refused_socket_leaves_the_line_usable(network: InnerNetwork) -> None:
    with pytest.raises(OSError) as caught:  # which one is asserted below
        network.open_socket(socket.AF_INET, 77)
    assert caught.value.errno == errno.EINVAL
    network.open_socket(socket.AF_INET, socket.SOCK_DGRAM).close()


@pytest.mark.parametrize(
    ("number", "mend"),
    [(errno.EPERM, "unprivileged_userns"), (errno.ENOSPC, "max_user_namespaces"), (errno.EINVAL, "CONFIG_USER_NS")],
)
def test_fail__each_refusal_has_its_mend(number: int, mend: str) -> None:
    error = refusal(number, os.strerror(number), "unshare")
    assert mend in error.mend
    assert "(unshare)" in error.text
