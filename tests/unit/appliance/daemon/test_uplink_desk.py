from __future__ import annotations

import asyncio
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from appliance.config.schema import PathsSection
from appliance.daemon.links import MonitoredLinks
from appliance.daemon.parts import RuleRemoved
from appliance.daemon.uplink_desk import UplinkDesk, clean_steering, may_be_measured
from appliance.health.tracker import HealthTracker
from appliance.ports.clock import SystemClock
from appliance.ports.events import EventBus
from appliance.ports.netlink import TABLE_MAIN, MemoryNetlink, Route
from appliance.ports.randomness import SeededRandomness
from appliance.types.events import LinkChanged
from appliance.types.netmap import DerpMap
from appliance.uplinks.steering import TABLE


class World:
    """The host prefers eth0; the configuration prefers wwan0."""

    def __init__(self, *order: str) -> None:
        self.netlink = MemoryNetlink()
        self.bus = EventBus()
        self.changes: list[LinkChanged] = []
        self.bus.subscribe(LinkChanged, self.changes.append)
        self.links = MonitoredLinks(self.netlink, "waypost0", self.bus.publish, lambda: None, tuple)
        clock = SystemClock()
        self.desk = UplinkDesk(
            PathsSection(uplinks=order),
            self.links,
            self.netlink,
            clock,
            SeededRandomness(1),
            self.bus,
            HealthTracker(self.bus, clock),
            DerpMap,
        )
        self.desk.follow()

    async def start(self) -> asyncio.Future[None]:
        self.netlink.add_link("eth0", ip_interface("192.168.1.10/24"), up=True)
        self.netlink.add_link("wwan0", ip_interface("10.0.0.2/24"), up=True)
        every = ip_network("0.0.0.0/0")
        await self.netlink.apply(
            (),
            [
                Route(every, TABLE_MAIN, interface="eth0", gateway=ip_address("192.168.1.1"), metric=100),
                Route(every, TABLE_MAIN, interface="wwan0", gateway=ip_address("10.0.0.1"), metric=700),
            ],
        )
        await self.links.start()
        return asyncio.ensure_future(self.desk.run())

    async def steered(self, interface: str) -> None:
        while [route.interface for route in await self.netlink.routes(TABLE)] != ([interface] if interface else []):
            await asyncio.sleep(0.01)

    async def end(self, task: asyncio.Future[None]) -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self.desk.close()
        self.links.close()


async def test_ok__the_configured_one_carries_the_underlay_until_the_end() -> None:
    world = World("wwan0", "eth0")
    task = await world.start()
    await world.steered("wwan0")
    while not world.changes:
        await asyncio.sleep(0.01)
    assert world.changes[0].major
    assert [(state.interface, state.in_use) for state in world.desk.states()] == [("wwan0", True), ("eth0", False)]
    place = world.links.router_place()
    assert place is not None
    assert str(place.router) == "10.0.0.1", "ports are mapped on the router in use"
    await clean_steering(world.netlink)
    world.bus.publish(RuleRemoved())
    await world.steered("wwan0")
    await world.end(task)
    await world.steered("")


async def test_ok__the_host_s_own_choice_needs_no_routes() -> None:
    world = World("eth0", "wwan0")
    task = await world.start()
    while not world.desk.states()[0].in_use:
        await asyncio.sleep(0.01)
    world.bus.publish(LinkChanged(major=False))
    assert await world.netlink.routes(TABLE) == []
    await world.end(task)
    assert world.changes == [LinkChanged(major=False)]


async def test_ok__without_uplinks_in_the_configuration_nothing_is_done() -> None:
    world = World()
    task = await world.start()
    await asyncio.sleep(0)
    assert world.desk.states() == ()
    await world.end(task)
    assert world.netlink.batches[1:] == []


@pytest.mark.parametrize(
    ("setting", "interface", "measured"),
    [
        ("auto", "eth9", True),
        ("auto", "wwan9", False),
        ("auto", "lte", False),
        ("on", "lte", True),
        ("off", "eth9", False),
    ],
)
def test_ok__data_is_spent_where_it_is_not_paid_for(setting: str, interface: str, measured: bool) -> None:
    section = PathsSection(uplink_throughput=setting, metered_uplinks=("lte",))
    assert may_be_measured(section, interface) is measured
