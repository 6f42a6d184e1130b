from __future__ import annotations

from ipaddress import ip_address, ip_network

from appliance.ports.netlink import TABLE_MAIN, MemoryNetlink, PolicyRule, Route
from appliance.uplinks.steering import TABLE, DefaultRoute, Steering

MARK, MASK = 0x80000, 0xFF0000
LTE = DefaultRoute(4, "wwan0", ip_address("10.0.0.1"))
FIBRE = DefaultRoute(4, "eth0", ip_address("192.168.1.1"))
LTE6 = DefaultRoute(6, "wwan0", ip_address("fe80::1"))


def host() -> MemoryNetlink:
    netlink = MemoryNetlink()
    for name in ("eth0", "wwan0"):
        netlink.add_link(name, up=True)
    return netlink


async def test_ok__rules_for_marked_packets_and_one_default_route() -> None:
    netlink = host()
    await Steering(netlink, MARK, MASK).set([LTE])
    assert await netlink.routes(TABLE) == [
        Route(ip_network("0.0.0.0/0"), TABLE, interface="wwan0", gateway=ip_address("10.0.0.1"))
    ]
    assert await netlink.rules() == [
        PolicyRule(4, 5205, TABLE_MAIN, MARK, MASK, longer_than=0),
        PolicyRule(4, 5206, TABLE, MARK, MASK),
    ]


async def test_ok__another_uplink_replaces_the_route_without_a_gap() -> None:
    netlink = host()
    steering = Steering(netlink, MARK, MASK)
    await steering.set([LTE, LTE6])
    await steering.set([FIBRE])
    removed, added = netlink.batches[-1]
    assert all(item.version == 6 if isinstance(item, PolicyRule) else item.destination.version == 6 for item in removed)
    assert added == (Route(ip_network("0.0.0.0/0"), TABLE, interface="eth0", gateway=ip_address("192.168.1.1")),)
    await steering.set([FIBRE])
    assert netlink.batches[-1] == ((), ())


async def test_ok__nothing_is_left_and_others_stay() -> None:
    netlink = host()
    foreign = PolicyRule(4, 5205, TABLE_MAIN, protocol=3)
    ours = PolicyRule(4, 5210, TABLE_MAIN, MARK, MASK)
    await netlink.apply((), [foreign, ours])
    steering = Steering(netlink, MARK, MASK)
    await steering.set([LTE])
    cleaned = await Steering(netlink, MARK, MASK).clear()
    assert len(cleaned) == 3
    assert await netlink.routes(TABLE) == []
    assert await netlink.rules() == [foreign, ours]
    assert await steering.clear() == ()
