"""Several uplinks: joins their measurement to the host's routes, the relays' STUN servers and path finding."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address

import structlog

from appliance.config.schema import PathsSection
from appliance.daemon.links import MonitoredLinks
from appliance.daemon.parts import RuleRemoved
from appliance.drivers.links import interface_bytes, is_metered
from appliance.drivers.resolver import SystemResolver
from appliance.drivers.streams import BYPASS_MARK
from appliance.drivers.udp import open_udp_through
from appliance.health.tracker import HealthTracker
from appliance.ports.clock import Clock
from appliance.ports.events import EventBus
from appliance.ports.netlink import NetlinkError, NetlinkPort
from appliance.ports.randomness import Randomness
from appliance.ports.resolver import Resolver
from appliance.router.model import MARK_MASK
from appliance.types.addresses import AddrPort
from appliance.types.events import LinkChanged, NetmapChanged
from appliance.types.netmap import DerpMap
from appliance.uplinks.choice import Policy
from appliance.uplinks.service import UplinkService, UplinkState
from appliance.uplinks.steering import DefaultRoute, Steering

log = structlog.get_logger("waypostd")

HEALTH = "uplinks"
MAX_TARGETS = 3
RETRY_S = 5.0
_STUN_PORT = 3478


async def clean_steering(netlink: NetlinkPort) -> None:
    """Remove the routing that a crashed run left on the host. Raises `NetlinkError`."""
    cleaned = await Steering(netlink, BYPASS_MARK, MARK_MASK).clear()
    if cleaned:
        log.info("removed what a run before left", items=cleaned)


class UplinkDesk:
    """`run` works until cancelled; `close` leaves the host's routing as it was."""

    def __init__(
        self,
        section: PathsSection,
        links: MonitoredLinks,
        netlink: NetlinkPort,
        clock: Clock,
        randomness: Randomness,
        bus: EventBus,
        health: HealthTracker,
        derp_map: Callable[[], DerpMap],
        resolver: Resolver | None = None,
    ) -> None:
        self._links = links
        self._steering = Steering(netlink, BYPASS_MARK, MARK_MASK)
        self._bus = bus
        self._health = health
        self._resolver: Resolver = resolver or SystemResolver()
        self._derp_map = derp_map
        self._wanted = asyncio.Event()
        self._asked_map: DerpMap | None = None
        self._steered: tuple[DefaultRoute, ...] = ()
        self._service = UplinkService(
            lambda interface: open_udp_through(interface, mark=BYPASS_MARK),
            clock,
            randomness,
            order=section.uplinks,
            policy=Policy(section.uplink_policy),
            on_choice=lambda _interface: self._wanted.set(),
            read_bytes=interface_bytes,
            measured=lambda interface: may_be_measured(section, interface),
        )
        self._configured = bool(section.uplinks)

    def follow(self) -> None:
        """Listen to what may change the choice or undo it."""
        if self._configured:
            self._bus.subscribe(LinkChanged, lambda _event: self._look())
            self._bus.subscribe(RuleRemoved, lambda _event: self._wanted.set())
            self._bus.subscribe(NetmapChanged, lambda _event: self._wanted.set())

    def states(self) -> tuple[UplinkState, ...]:
        return self._service.states() if self._configured else ()

    async def run(self) -> None:
        if not self._configured:
            await asyncio.Event().wait()
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._service.run(), name="uplink measurement")
            self._look()
            while True:
                self._wanted.clear()
                if not await self._steer():
                    self._wanted.set()
                    await asyncio.sleep(RETRY_S)
                await self._find_targets()
                await self._wanted.wait()

    async def close(self) -> None:
        """Safe to call twice."""
        if self._steered:
            self._steered = ()
            try:
                await self._steering.clear()
            except NetlinkError as error:
                log.error("not everything was removed from the host", error=error.text, mend=error.mend)

    def _look(self) -> None:
        """Which uplinks are there now."""
        self._service.set_present([route.interface for route in self._links.default_routes() if route.version == 4])
        self._wanted.set()

    async def _steer(self) -> bool:
        """Let the choice take effect. False: the kernel refused, try again."""
        chosen = self._service.current
        routes = self._routes(chosen)
        try:
            await self._steering.set(routes)
        except NetlinkError as error:
            self._health.set(HEALTH, f"the uplink {chosen} cannot be used: {error.text}", mend=error.mend)
            return False
        self._health.clear(HEALTH)
        before, self._steered, self._links.chosen = self._steered, routes, chosen
        if routes != before:
            self._bus.publish(LinkChanged(major=True, reason=f"the uplink in use is {chosen or 'gone'} now"))
        return True

    def _routes(self, chosen: str) -> tuple[DefaultRoute, ...]:
        """None while the host's own default route is the chosen one: then nothing needs to be touched."""
        found = self._links.default_routes()
        best = {route.version: route for route in reversed(found)}
        wanted = [route for route in found if route.interface == chosen]
        return tuple(route for route in wanted if best[route.version] != route)

    async def _find_targets(self) -> None:
        derp_map = self._derp_map()
        if derp_map is self._asked_map:
            return
        targets: list[AddrPort] = []
        for region in derp_map:
            for node in region.nodes[:1]:
                if node.stun_port >= 0 and len(targets) < MAX_TARGETS:
                    port = node.stun_port or _STUN_PORT
                    targets += [AddrPort(ip, port) for ip in (await self._addresses(node.ipv4 or node.host_name))[:1]]
        self._asked_map = derp_map if targets else None
        self._service.set_targets(targets)

    async def _addresses(self, host: str) -> Sequence[str]:
        try:
            found = await self._resolver.resolve(host)
        except OSError:
            return ()
        return [str(address) for address in found if isinstance(address, IPv4Address)]


def may_be_measured(section: PathsSection, interface: str) -> bool:
    """Whether data may be spent on finding out what the interface carries."""
    if section.uplink_throughput == "auto":
        return interface not in section.metered_uplinks and not is_metered(interface)
    return section.uplink_throughput == "on"
