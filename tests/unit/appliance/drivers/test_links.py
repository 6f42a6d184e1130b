"""The link monitor on the netlink twin."""

import asyncio
import socket
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from appliance.drivers.links import LinkMonitor, compare, host_network, interface_bytes, is_metered
from appliance.ports.netlink import InterfaceAddress, MemoryNetlink, NetlinkError, Route
from appliance.types.events import LinkChanged


@pytest.fixture
def netlink():
    twin = MemoryNetlink()
    twin.add_link("eth0", ip_interface("192.168.1.5/24"), ip_interface("2001:db8::5/64"), up=True)
    twin.add_link("waypost0", ip_interface("100.64.0.1/32"), ip_interface("fd7a:115c:a1e0::1/128"), up=True)
    default = Route(ip_network("0.0.0.0/0"), 254, interface="eth0", gateway=ip_address("192.168.1.1"), protocol=3)
    twin.route_map[default.place] = default
    return twin


async def test_ok__what_matters(netlink):
    netlink.address_list.append(InterfaceAddress("lo", ip_interface("127.0.0.1/8")))
    found = await host_network(netlink)
    (uplink,) = found.uplinks
    assert (uplink.interface, uplink.gateway) == ("eth0", ip_address("192.168.1.1"))
    assert found.endpoint_addresses() == (ip_address("192.168.1.5"), ip_address("2001:db8::5"))
    assert found.prefixes() == (ip_interface("192.168.1.5/24"), ip_interface("2001:db8::5/64"))


async def test_ok__overlay_addresses_are_not_offered(netlink):
    netlink.address_list += [
        InterfaceAddress("eth0", ip_interface("100.70.0.9/24")),
        InterfaceAddress("eth0", ip_interface("100.64.0.1/32")),
        InterfaceAddress("eth0", ip_interface("169.254.1.1/16")),
        InterfaceAddress("eth0", ip_interface("fd7a:115c:a1e0::9/64")),
    ]
    offered = (await host_network(netlink)).endpoint_addresses([ip_address("100.64.0.1")])
    assert ip_address("100.70.0.9") in offered
    assert len(offered) == 3


async def test_ok__minor_major_nothing(netlink):
    before = await host_network(netlink)
    assert compare(before, await host_network(netlink)) is None
    netlink.add_link("eth1", ip_interface("10.0.0.1/24"), up=True)
    minor = await host_network(netlink)
    change = compare(before, minor)
    assert change is not None
    assert not change.major
    assert "10.0.0.1/24" in change.reason
    netlink.address_list = [item for item in netlink.address_list if str(item.address) != "192.168.1.5/24"]
    change = compare(minor, await host_network(netlink))
    assert change is not None
    assert change.major
    assert "eth0" in change.reason


async def test_ok__the_cheapest_default_route_counts(netlink):
    netlink.add_link("wlan0", up=True)
    other = Route(ip_network("0.0.0.0/0"), 254, interface="wlan0", metric=600, protocol=3)
    netlink.route_map[other.place] = other
    assert {uplink.interface for uplink in (await host_network(netlink)).uplinks} == {"eth0"}


async def test_ok__tunnel_changes_are_silent(netlink):
    before = await host_network(netlink)
    netlink.address_list.append(InterfaceAddress("waypost0", ip_interface("100.64.0.7/32")))
    assert compare(before, await host_network(netlink)) is None


async def test_ok__a_storm_is_one_reading(netlink):
    changes: asyncio.Queue[LinkChanged] = asyncio.Queue()
    monitor = LinkMonitor(netlink, changes.put_nowait, quiet_s=0.005)
    monitor.current = await host_network(netlink)
    running = asyncio.ensure_future(monitor.run())
    for index in range(5):
        netlink.add_link(f"veth{index}", ip_interface(f"10.0.{index}.1/24"), up=True)
        monitor.notify()
    change = await changes.get()
    assert not change.major
    running.cancel()
    assert changes.empty()


async def test_ok__a_failed_reading_is_tried_again(netlink):
    monitor = LinkMonitor(netlink, lambda _change: None, quiet_s=0)
    failing = [True]
    original = netlink.addresses

    async def addresses(interface=""):
        if failing.pop() if failing else False:
            raise NetlinkError("dump interrupted")
        return await original(interface)

    netlink.addresses = addresses
    assert await monitor.look() is None
    assert monitor.current is None
    assert monitor._notified.is_set()
    await monitor.look()
    assert monitor.current is not None


def test_ok__bytes_of_an_interface() -> None:
    assert interface_bytes("no-such-link") is None
    before = interface_bytes("lo")
    assert before is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(bytes(1000), ("127.0.0.1", 9))
    after = interface_bytes("lo")
    assert after is not None
    assert after[0] >= before[0] + 1000
    assert after[1] >= before[1] + 1000


@pytest.mark.parametrize(
    ("name", "events", "kind", "metered"),
    [
        ("eth0", "INTERFACE=eth0\n", "1", False),
        ("wwan0", "", "1", True),
        ("wwp0s20u4", "DEVTYPE=wwan\nINTERFACE=wwp0s20u4\n", "1", True),
        ("ppp0", "DEVTYPE=ppp\n", "512", True),
        ("rmnet0", "", "519", True),
    ],
)
def test_ok__modems_are_paid_by_the_byte(tmp_path, name, events, kind, metered):
    (tmp_path / name).mkdir()
    (tmp_path / name / "uevent").write_text(events)
    (tmp_path / name / "type").write_text(f"{kind}\n")
    assert is_metered(name, tmp_path) is metered
    assert not is_metered("gone0", tmp_path)
