"""What the plugin host needs from the process that it lives in. The daemon implements it over its services."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import Protocol

from appliance.api.answers import AnswerFeed
from appliance.api.changes import ChangeFeed
from appliance.api.dns import ResolverWish
from appliance.api.values import (
    AttachedPrefix,
    Finding,
    GatewayStatus,
    HealthItem,
    HostFacts,
    JsonValue,
    ListenPlace,
    LogLevel,
    Neighbour,
    NetmapSnapshot,
    NodeInfo,
    PacketDevice,
    PluginPanel,
    RefreshKind,
    SettingField,
    SettingProblem,
    WakeReport,
)
from appliance.ports.clock import Clock
from appliance.ports.exit_datagrams import ExitDatagrams
from appliance.ports.kernel_relay import KernelRelay
from appliance.ports.netlink import QueueTraffic
from appliance.ports.packets import TunPort, UdpPort
from appliance.ports.randomness import Randomness


class HostBackend(Protocol):
    """All methods but the store's are quick. `appliance.pluginhost.snapshots` makes the netmap values."""

    @property
    def clock(self) -> Clock: ...

    @property
    def randomness(self) -> Randomness: ...

    async def sleep(self, seconds: float) -> None: ...

    def netmap(self) -> NetmapSnapshot: ...

    def node(self, stable_id: str) -> NodeInfo | None: ...

    def whois(self, address: str) -> NodeInfo | None: ...

    @property
    def feed(self) -> ChangeFeed:
        """Numbers every change of the status."""
        ...

    def status(self, *, peers: bool = True) -> GatewayStatus: ...

    async def panels(self) -> tuple[PluginPanel, ...]: ...

    async def act(self, plugin: str, label: str) -> None:
        """Press a button of a plugin's panel; the change is on trial. Raises `ApplianceError`."""
        ...

    def setting_fields(self, plugin: str) -> tuple[SettingField, ...]: ...

    async def change_settings(self, plugin: str, settings: Mapping[str, JsonValue]) -> tuple[SettingProblem, ...]:
        """Why they were refused; with nothing they are on trial. Raises `ApplianceError`."""
        ...

    async def confirm(self) -> None:
        """Keep the settings that are on trial. Raises `ApplianceError`."""
        ...

    def listen(self, plugin: str, place: ListenPlace) -> socket.socket:
        """A listening, non-blocking socket for `plugin`. Raises `ApplianceError`."""
        ...

    @property
    def answers(self) -> AnswerFeed:
        """What names resolve to."""
        ...

    def capability(self, name: str) -> tuple[JsonValue, ...]:
        """Values that this node has under a capability's name."""
        ...

    def exit_resolver(self) -> str:
        """URL of the resolver of the exit in use, "" for none."""
        ...

    def site_shielded(self) -> bool:
        """Whether questions of hosts behind this one must stay inside the mesh."""
        ...

    async def set_resolver(self, wish: ResolverWish) -> None:
        """Raises `ApplianceError`."""
        ...

    def released(self, plugin: str) -> None:
        """The plugin is gone: forget which listeners it had."""
        ...

    def attached_prefixes(self) -> tuple[AttachedPrefix, ...]:
        """Prefixes of the host's own interfaces, without the tunnel, loopback and link-local."""
        ...

    def facts(self) -> HostFacts: ...

    def hold_address(self, address: str, interface: str, seconds: int) -> None:
        """Hold an address on an interface and tell the LAN. Raises `ApplianceError`."""
        ...

    def drop_address(self, address: str, interface: str) -> None:
        """Give it up. Raises `ApplianceError`."""
        ...

    async def wake(self, mac: str, interface: str, via: str) -> WakeReport:
        """Raises `ApplianceError`."""
        ...

    def neighbours(self) -> tuple[Neighbour, ...]:
        """IPv4 hosts of attached networks whose hardware address this host knows now."""
        ...

    def join_group(self, interface: str, group: str, port: int) -> socket.socket:
        """Raises `ApplianceError`."""
        ...

    async def examine(self) -> tuple[Finding, ...]:
        """Have the gateway's network looked at."""
        ...

    def granted(self, stable_id: str) -> tuple[str, ...]:
        """Application capabilities of a peer toward this node, by name."""
        ...

    async def shape_traffic(self) -> Mapping[str, QueueTraffic]:
        """Of all plugins' traffic shapes, by name. Raises `ApplianceError`."""
        ...

    def open_udp(self, port: int) -> Sequence[UdpPort]:
        """Outside the tunnel. Raises `ApplianceError`."""
        ...

    def open_device(self, plugin: str, device: PacketDevice) -> TunPort:
        """With its routes, until it is closed. Raises `ApplianceError`."""
        ...

    def take_datagrams(self) -> ExitDatagrams:
        """UDP of those who use this exit. Raises `ApplianceError`."""
        ...

    async def relay_in_kernel(self, port: int) -> KernelRelay:
        """Raises `ApplianceError`."""
        ...

    def underlay_addresses(self) -> tuple[str, ...]:
        """Of the host's interfaces, without the tunnel's."""
        ...

    async def stun_servers(self) -> tuple[str, ...]:
        """As "ip:port", nearest region first."""
        ...

    async def reach(self, address: str, timeout_s: float) -> float | None:
        """Seconds to an ICMP answer from outside the mesh, None: none in time."""
        ...

    def request_refresh(self, kind: RefreshKind, reason: str) -> None:
        """Ask the contributions anew soon, outside the current call."""
        ...

    def set_health(self, source: str, item: HealthItem) -> None:
        """`source` is a plugin's name; an item is identified by source and code."""
        ...

    def clear_health(self, source: str, code: str) -> None: ...

    def log(self, source: str, level: LogLevel, event: str, fields: Mapping[str, JsonValue]) -> None: ...

    async def store_get(self, namespace: str, name: str) -> bytes | None: ...

    async def store_put(self, namespace: str, name: str, value: bytes) -> None: ...

    async def store_delete(self, namespace: str, name: str) -> None: ...
