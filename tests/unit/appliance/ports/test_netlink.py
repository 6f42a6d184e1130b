"""The netlink twin behaves as the kernel does."""

from ipaddress import ip_interface, ip_network

import pytest

from appliance.ports.netlink import InterfaceAddress, MemoryNetlink, NetlinkError, PolicyRule, Route, RouteKind

TEN = ip_network("10.0.0.0/8")


async def test_ok__replace_and_remove():
    twin = MemoryNetlink()
    twin.add_link("t0", up=True)
    await twin.apply([], [Route(TEN, 52, interface="t0"), PolicyRule(4, 1, 52), PolicyRule(4, 1, 52, protocol=0)])
    await twin.apply([], [Route(TEN, 52, RouteKind.THROW)])
    assert [route.kind for route in await twin.routes(52)] == [RouteKind.THROW]
    assert await twin.rules() == [PolicyRule(4, 1, 52)]
    await twin.apply([Route(TEN, 52, interface="t0")], [])
    assert len(await twin.routes(52)) == 1
    await twin.apply([Route(TEN, 52, RouteKind.THROW), PolicyRule(4, 1, 52), PolicyRule(4, 2, 52)], [])
    assert await twin.routes(52) == []
    assert await twin.rules() == []


async def test_ok__down_drops_routes_and_ipv6():
    twin = MemoryNetlink()
    twin.add_link("t0", ip_interface("10.1.1.1/32"), ip_interface("fd00::1/128"), up=True)
    await twin.apply([], [Route(TEN, 52, interface="t0")])
    await twin.set_link("t0", up=False)
    assert await twin.routes(52) == []
    assert [str(item.address) for item in await twin.addresses("t0")] == ["10.1.1.1/32"]


async def test_fail__as_the_kernel_says():
    twin = MemoryNetlink()
    twin.add_link("t0")
    with pytest.raises(NetlinkError, match="Network is down"):
        await twin.apply([], [Route(TEN, 52, interface="t0")])
    with pytest.raises(NetlinkError, match="no interface"):
        await twin.apply([], [InterfaceAddress("gone", ip_interface("10.1.1.1/32"))])
    with pytest.raises(NetlinkError, match="no interface"):
        await twin.set_link("gone", up=True)
