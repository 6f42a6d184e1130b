from __future__ import annotations

import threading
from ipaddress import ip_interface

import pytest

from appliance.daemon.netlink_thread import ThreadedNetlink
from appliance.ports.netlink import InterfaceAddress, MemoryNetlink, NetlinkError, QueueTraffic


async def test_ok__calls_pass_through_a_thread_of_its_own() -> None:
    twin = MemoryNetlink()
    twin.add_link("waypost0")
    seen: list[str] = []
    twin.refuse = lambda _item: seen.append(threading.current_thread().name) or ""
    netlink = ThreadedNetlink(twin)
    address = InterfaceAddress("waypost0", ip_interface("100.64.0.1/32"))
    await netlink.apply([], [address])
    await netlink.set_link("waypost0", up=True)
    assert await netlink.addresses("waypost0") == [address]
    assert {link.name for link in await netlink.links()} == {"lo", "waypost0"}
    assert (await netlink.routes(52), await netlink.rules()) == ([], [])
    assert await netlink.limit("waypost0", (500,))
    assert await netlink.queue_traffic("waypost0") == {1: QueueTraffic()}
    assert await netlink.limit("waypost0", ())
    assert await netlink.queue_traffic("waypost0") == {}
    assert seen == ["netlink"]
    await netlink.close()
    await netlink.close()
    assert "netlink" not in {thread.name for thread in threading.enumerate()}


async def test_fail__errors_come_back() -> None:
    twin = MemoryNetlink()
    twin.refuse = lambda _item: "no"
    netlink = ThreadedNetlink(twin)
    with pytest.raises(NetlinkError):
        await netlink.apply([], [InterfaceAddress("lo", ip_interface("100.64.0.1/32"))])
    await netlink.close()
