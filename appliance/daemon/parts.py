"""What the gateway is made of, and the few seams at which tests put twins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol

from appliance.config.schema import Config
from appliance.daemon.peer_handshakes import PeerHandshakeKeeper
from appliance.daemon.timestamps import TimestampKeeper
from appliance.drivers.refused import LinuxRefusedPort
from appliance.drivers.sockets import OpenSocket, open_socket
from appliance.drivers.tun import open_tun
from appliance.drivers.udp import open_udp_ports
from appliance.health.tracker import HealthTracker
from appliance.magicsock.service import MagicsockService
from appliance.portmap.mapping import RouterPlace
from appliance.portmap.service import PortMappingService
from appliance.ports.clock import Clock
from appliance.ports.engine import Engine
from appliance.ports.events import EventBus
from appliance.ports.netlink import QueueTraffic
from appliance.ports.packets import TunPort, UdpPort
from appliance.ports.randomness import Randomness
from appliance.ports.refused import RefusedPort
from appliance.ports.streams import StreamDialer
from appliance.ports.tsmp import TsmpPort
from appliance.ports.underlay import Underlay
from appliance.router.foreign import ForeignDrop
from appliance.router.model import RouterModel
from appliance.state.profiles import Profile, Profiles
from appliance.types.addresses import Address
from appliance.types.keys import NodePublicKey
from appliance.uplinks.service import UplinkState
from appliance.uplinks.steering import DefaultRoute


class DataPlane(Engine, Underlay, TsmpPort, Protocol):
    """An engine with all of its seams."""

    @property
    def inner_port(self) -> int:
        """UDP port at which this host sees what is not WireGuard on the WireGuard port; 0: the same port."""
        ...

    @property
    def last_timestamp(self) -> bytes:
        """Greatest handshake timestamp sent; to be stored."""
        ...

    @property
    def greatest_timestamps(self) -> Mapping[NodePublicKey, bytes]:
        """Greatest handshake timestamp received, by peer; to be stored."""
        ...


class HostRouter(Protocol):
    """`appliance.router.service.Router`."""

    @property
    def model(self) -> RouterModel | None:
        """What is applied now."""
        ...

    async def guard(self, model: RouterModel) -> None: ...

    async def apply(self, model: RouterModel) -> None: ...

    async def run(self) -> NoReturn: ...

    def stands(self) -> bool: ...

    async def repair(self) -> None: ...

    async def repair_soon(self) -> bool: ...

    async def close(self) -> None: ...

    async def can_log(self, group: int) -> bool: ...

    async def shape_traffic(self) -> Mapping[str, QueueTraffic]: ...

    async def foreign_drops(self) -> tuple[ForeignDrop, ...]: ...

    async def clean_stale(self, interface: str = "waypost0", *, guard: bool = False) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class RuleRemoved:
    """Event: somebody deleted a policy rule of this host, perhaps ours."""


@dataclass(frozen=True, slots=True)
class Lan:
    """A prefix that one of the host's own interfaces is in, with the host's address there. `up`: it has a carrier."""

    interface: str
    prefix: str
    address: str
    up: bool = True


class HostLinks(Protocol):
    """The host's own network, without the tunnel."""

    def endpoint_addresses(self) -> Sequence[Address]:
        """May be offered to peers."""
        ...

    def lans(self) -> Sequence[Lan]: ...

    def default_routes(self) -> Sequence[DefaultRoute]:
        """Those in use first, then the others; one per interface and IP version."""
        ...

    def uplink_names(self) -> Sequence[str]:
        """Interfaces of the default routes."""
        ...

    def router_place(self) -> RouterPlace | None:
        """The private router that IPv4 goes through, None when there is none."""
        ...

    async def start(self) -> None: ...

    async def run(self) -> None:
        """Publish `LinkChanged` until cancelled."""
        ...

    def close(self) -> None: ...


class Service(Protocol):
    async def run(self) -> None:
        """Until cancelled."""
        ...


@dataclass(frozen=True, slots=True)
class Core:
    """Made once per process, in this order; nothing here knows the gateway's state machine.

    `engine_form`: `native` or `pure` of the userspace engine.
    """

    config: Config
    clock: Clock
    randomness: Randomness
    bus: EventBus
    health: HealthTracker
    profiles: Profiles
    profile: Profile
    links: HostLinks
    engine: DataPlane
    magicsock: MagicsockService
    router: HostRouter
    dialer: StreamDialer
    timestamps: TimestampKeeper
    peer_handshakes: PeerHandshakeKeeper
    rootless: bool = False
    sockets: OpenSocket = open_socket
    """Makes the sockets of the overlay."""
    open_udp: Callable[[int], Sequence[UdpPort]] = open_udp_ports
    """Opens ports of the underlay."""
    open_device: Callable[[str, int], TunPort] = open_tun
    """Makes a further device, by name and MTU, where the tunnel's is."""
    refused: Callable[[int, OpenSocket], RefusedPort] = LinuxRefusedPort
    """Where the packet filter shows what it refused."""
    engine_form: str = ""
    engine_reason: str = ""
    port_mapping: PortMappingService | None = None
    uplinks: Callable[[], Sequence[UplinkState]] = tuple
    services: Sequence[Service] = ()
    """Of the underlay; they run beside the gateway."""
