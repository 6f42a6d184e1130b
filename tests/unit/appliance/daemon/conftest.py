"""A whole gateway on twins of the host, at the real control server over loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from appliance.config.schema import Config, ControlSection
from appliance.daemon.applier import ChangeApplier, Situation
from appliance.daemon.gateway import Gateway
from appliance.daemon.housekeeping import Housekeeper
from appliance.daemon.parts import Core, Lan
from appliance.daemon.peer_handshakes import keep_peer_handshakes
from appliance.daemon.saved_netmap import load_netmap, netmap_document
from appliance.daemon.timestamps import TimestampKeeper
from appliance.daemon.wiring import join_gateway, serve
from appliance.drivers.streams import SocketDialer
from appliance.health.tracker import HealthTracker
from appliance.localapi.schema import UpRequest
from appliance.magicsock.service import MagicsockService
from appliance.portmap.mapping import RouterPlace
from appliance.ports.clock import SystemClock
from appliance.ports.engine import MemoryEngine
from appliance.ports.events import EventBus
from appliance.ports.firewall import MemoryFirewall
from appliance.ports.netlink import MemoryNetlink
from appliance.ports.randomness import SystemRandomness
from appliance.ports.refused import MemoryRefusedPort
from appliance.ports.store import MemoryStore
from appliance.ports.sysctl import MemoryJournal, MemorySysctl
from appliance.ports.tsmp import MemoryTsmpPort
from appliance.ports.underlay import MemoryUnderlay
from appliance.router.service import Router
from appliance.state.profiles import Profiles
from appliance.types.addresses import Address, AddrPort
from appliance.types.events import BackendState, HealthChanged
from appliance.types.ids import RegionId
from appliance.types.keys import NodePublicKey
from appliance.uplinks.steering import DefaultRoute
from control.server.app import RunningServer, running
from control.server.settings import ServerSettings
from control.service.actor import SYSTEM


class TwinEngine(MemoryEngine, MemoryUnderlay, MemoryTsmpPort):
    """All seams of an engine."""

    def __init__(self) -> None:
        MemoryEngine.__init__(self)
        MemoryUnderlay.__init__(self)
        MemoryTsmpPort.__init__(self)
        self.inner_port = 0
        self.last_timestamp = bytes(12)
        self.greatest_timestamps: dict[NodePublicKey, bytes] = {}


class QuietPool:
    """A DERP pool without servers."""

    def set_private_key(self, key: object) -> None: ...

    def set_derp_map(self, derp_map: object) -> None: ...

    def set_home(self, region: RegionId) -> None: ...

    def send(self, peer: object, home: RegionId, packets: object) -> bool:
        return False

    def last_frame_at(self, region: RegionId) -> float | None:
        return None

    def connected_regions(self) -> Sequence[RegionId]:
        return ()

    def last_error(self, region: RegionId) -> str:
        return ""

    async def measure_https(self, region: RegionId) -> float | None:
        return None

    async def rebind(self) -> None: ...

    async def close(self) -> None: ...


class TwinLinks:
    """One LAN."""

    def endpoint_addresses(self) -> Sequence[Address]:
        return (ip_address("192.0.2.10"),)

    def lans(self) -> Sequence[Lan]:
        return (Lan("lan0", "192.168.10.0/24", "192.168.10.1"),)

    def default_routes(self) -> Sequence[DefaultRoute]:
        return ()

    def uplink_names(self) -> Sequence[str]:
        return ("lo",)

    def router_place(self) -> RouterPlace | None:
        return None

    async def start(self) -> None: ...

    async def run(self) -> None:
        await asyncio.Event().wait()

    def close(self) -> None: ...


class QuietManager:
    def __init__(self) -> None:
        self.said: list[str] = []

    def ready(self) -> None:
        self.said.append("ready")

    def status(self, text: str) -> None:
        self.said.append(text)

    def stopping(self) -> None: ...

    def alive(self) -> None: ...


@dataclass
class TwinHost:
    """What outlives a restart of the process: state, and the host's network."""

    store: MemoryStore = field(default_factory=MemoryStore)
    netlink: MemoryNetlink = field(default_factory=MemoryNetlink)
    firewall: MemoryFirewall = field(default_factory=MemoryFirewall)
    sysctl: MemorySysctl = field(
        default_factory=lambda: MemorySysctl(
            {
                "net/ipv4/ip_forward": "0",
                "net/ipv6/conf/all/forwarding": "0",
                "net/ipv6/conf/waypost0/disable_ipv6": "0",
            }
        )
    )
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    manager: QuietManager = field(default_factory=QuietManager)
    control_url: str = ""

    def __post_init__(self) -> None:
        self.netlink.add_link("waypost0")


class Process:
    """One run of the gateway on a host."""

    core: Core
    gateway: Gateway
    applier: ChangeApplier
    keeper: Housekeeper
    engine: TwinEngine

    def __init__(self, host: TwinHost) -> None:
        self.host = host
        self._stack = AsyncExitStack()
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        host, bus, clock, randomness = self.host, EventBus(), SystemClock(), SystemRandomness()
        health = HealthTracker(bus, clock)
        bus.subscribe(HealthChanged, health.observe)
        profiles = Profiles(host.store, randomness)
        profile = profiles.current()
        self.engine = TwinEngine()
        links = TwinLinks()
        peer_handshakes = keep_peer_handshakes(host.store, profile, clock)
        peer_handshakes.load()
        saved = load_netmap(netmap_document(host.store, profile.folder))
        magicsock = MagicsockService(
            self.engine,
            lambda _sink: QuietPool(),
            clock,
            randomness,
            bus,
            links.endpoint_addresses,
            disco_key=saved.disco_key if saved is not None else None,
        )
        await magicsock.start()
        self._stack.push_async_callback(magicsock.close)
        router = Router(host.netlink, host.firewall, host.sysctl, host.journal, health=bus.publish)
        self._stack.push_async_callback(router.close)
        situation = Situation()
        self.core = Core(
            config=Config(control=ControlSection(url=host.control_url)),
            clock=clock,
            randomness=randomness,
            bus=bus,
            health=health,
            profiles=profiles,
            profile=profile,
            links=links,
            engine=self.engine,
            magicsock=magicsock,
            router=router,
            dialer=SocketDialer(mark=0),
            timestamps=TimestampKeeper(profile.handshakes, clock),
            peer_handshakes=peer_handshakes,
            refused=lambda *_: MemoryRefusedPort(),
        )
        self.gateway, self.applier, self.keeper = join_gateway(
            self.core, host.store, situation, host.manager, self._stack
        )
        self._task = asyncio.ensure_future(
            serve(self.core, self.gateway, [self.applier, self.keeper], host.manager, self._stop)
        )

    async def stop(self) -> None:
        self._stop.set()
        if self._task is not None:
            await self._task
        await self._stack.aclose()

    async def kill(self) -> None:
        """As far as a task can be killed: nothing of the orderly end runs."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.core.magicsock.close()
        await self.applier.plugins.stop()
        await self.applier.mesh.close()  # the kernel closes the sockets of a killed process
        self._task = None
        self._stack.pop_all()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                assert self._task is not None
                assert not self._task.done(), self._task.exception()
                await asyncio.sleep(0.01)

    async def up(self, url: str, key: str = "", **options: Any) -> None:
        """`waypost up`, to its end."""
        await self.gateway.up(UpRequest(control_url=url, auth_key=key, **options))
        await self.until(lambda: self.state in (BackendState.RUNNING, BackendState.NEEDS_LOGIN))

    @property
    def state(self) -> BackendState:
        return self.gateway.status().state


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    settings = ServerSettings(data_dir=tmp_path, listen=AddrPort("127.0.0.1", 0), derp_host=None, stun_port=0)
    async with running(settings) as made:
        await made.service.users.create(SYSTEM, "ann")
        yield made


@pytest.fixture
def url(server: RunningServer) -> str:
    return f"http://127.0.0.1:{server.port}"


@pytest.fixture
async def key(server: RunningServer) -> str:
    _, secret = await server.service.keys.create(SYSTEM, user="ann", reusable=True)
    return secret


@pytest.fixture
async def start() -> AsyncIterator[Callable[[TwinHost], Awaitable[Process]]]:
    processes: list[Process] = []

    async def made(host: TwinHost) -> Process:
        process = Process(host)
        processes.append(process)
        await process.start()
        return process

    yield made
    for process in processes:
        await process.stop()


@pytest.fixture
def host() -> TwinHost:
    return TwinHost()


@pytest.fixture
async def process(start: Callable[[TwinHost], Awaitable[Process]], host: TwinHost) -> Process:
    return await start(host)
