from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network

from appliance.daemon.links import MonitoredLinks
from appliance.daemon.parts import Lan
from appliance.ports.netlink import TABLE_MAIN, MemoryNetlink, Route


async def test_ok__lans_and_endpoint_addresses_leave_the_tunnel_out() -> None:
    netlink = MemoryNetlink()
    netlink.add_link("lan0", ip_interface("192.168.10.1/24"), up=True)
    netlink.add_link("wan0", ip_interface("203.0.113.5/24"), ip_interface("fe80::1/64"), up=True)
    netlink.add_link("waypost0", ip_interface("100.64.0.1/32"), up=True)
    links = MonitoredLinks(netlink, "waypost0", lambda _change: None, lambda: None, lambda: [ip_address("203.0.113.5")])
    assert links.lans() == ()
    assert links.endpoint_addresses() == ()
    await links.start()
    assert links.lans() == (
        Lan("lan0", "192.168.10.0/24", "192.168.10.1"),
        Lan("wan0", "203.0.113.0/24", "203.0.113.5"),
    )
    assert links.endpoint_addresses() == (ip_address("192.168.10.1"),)
    links.close()


async def test_ok__the_router_of_the_best_ipv4_uplink() -> None:
    netlink = MemoryNetlink()
    netlink.add_link("eth0", ip_interface("10.9.0.7/24"), ip_interface("192.168.1.10/24"), up=True)
    netlink.add_link("wwan0", ip_interface("100.70.0.2/30"), up=True)
    links = MonitoredLinks(netlink, "waypost0", lambda _change: None, lambda: None, tuple)
    assert links.router_place() is None
    routes = [
        Route(ip_network("0.0.0.0/0"), TABLE_MAIN, interface="wwan0", gateway=ip_address("100.70.0.1"), metric=700),
        Route(ip_network("0.0.0.0/0"), TABLE_MAIN, interface="eth0", gateway=ip_address("192.168.1.1"), metric=100),
    ]
    await netlink.apply((), routes)
    await links.start()
    place = links.router_place()
    assert place is not None
    assert (str(place.router), str(place.own)) == ("192.168.1.1", "192.168.1.10")
    links.close()
