"""The kernel's own answers, as far as anybody may ask for them; changes are in tests/lab/test_router.py."""

import socket
from collections.abc import AsyncIterator
from ipaddress import ip_interface

import pytest

from appliance.drivers.netlink import LinuxNetlink
from appliance.ports.netlink import TABLE_MAIN, InterfaceAddress, NetlinkError, Route


@pytest.fixture
async def netlink() -> AsyncIterator[LinuxNetlink]:
    made = LinuxNetlink()
    yield made
    await made.close()


async def test_ok__what_every_host_has(netlink: LinuxNetlink) -> None:
    found = {link.name: link for link in await netlink.links()}
    assert set(found) == {name for _index, name in socket.if_nameindex()}
    assert found["lo"].loopback
    if found["lo"].up:
        assert InterfaceAddress("lo", ip_interface("127.0.0.1/8")) in await netlink.addresses()
        assert {item.interface for item in await netlink.addresses("lo")} == {"lo"}
    tables = {(rule.version, rule.table) for rule in await netlink.rules()}
    assert {(4, TABLE_MAIN), (6, TABLE_MAIN)} <= tables
    assert all(route.table == TABLE_MAIN for route in await netlink.routes(TABLE_MAIN))


async def test_fail__no_such_interface(netlink: LinuxNetlink) -> None:
    address = InterfaceAddress("nowhere0", ip_interface("192.0.2.1/32"))
    route = Route(ip_interface("192.0.2.0/24").network, 52, interface="nowhere0")
    with pytest.raises(NetlinkError, match="nowhere0"):
        await netlink.apply((), [address])
    with pytest.raises(NetlinkError, match="nowhere0"):
        await netlink.set_link("nowhere0", up=True)
    await netlink.apply([address, route], ())  # gone with its device


async def test_fail__no_socket() -> None:
    def refuse(_family: int, _kind: int, _protocol: int = 0, /) -> socket.socket:
        raise PermissionError(1, "Operation not permitted")

    with pytest.raises(NetlinkError, match="CAP_NET_ADMIN"):
        await LinuxNetlink(refuse).links()
