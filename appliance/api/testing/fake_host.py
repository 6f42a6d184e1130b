"""`FakeHost`: a `HostHandle` that keeps what a plugin asked for and gives what a test sets."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import datetime

from appliance.api.answers import AnswerFeed
from appliance.api.changes import PAUSE_S, ChangeFeed, follow
from appliance.api.dns import DnsAnswer, DnsAnswers, ResolverWish
from appliance.api.host import MAX_STORE_KEY, MAX_STORE_VALUE
from appliance.api.testing.virtual_time import VirtualTime
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
    StatusChange,
    Transport,
    WakeReport,
)
from appliance.ports.exit_datagrams import ExitDatagrams, MemoryExitDatagrams
from appliance.ports.kernel_relay import KernelRelay, KernelRelayError, MemoryKernelRelay
from appliance.ports.netlink import QueueTraffic
from appliance.ports.packets import MemoryTunPort, MemoryUdpPort, TunPort, UdpPort
from appliance.types.addresses import AddrPort
from appliance.types.errors import ApplianceError, StateError
from appliance.types.events import BackendState


class FakeHost:
    """Set the public attributes; read `refreshes`, `health`, `lines`, `listens`, `acts` and so on afterwards.

    `listen` gives a real socket on 127.0.0.1 at a free port, whatever was asked for. `refuse_resolver` is raised by
    `set_resolver`.
    """

    def __init__(self, plugin: str = "plugin_under_test", time: VirtualTime | None = None) -> None:
        self._plugin = plugin
        self.time = time or VirtualTime()
        self.snapshot = NetmapSnapshot()
        self.attached: tuple[AttachedPrefix, ...] = ()
        self.host_facts = HostFacts()
        self.table: dict[str, JsonValue] = {}
        self.store: dict[str, bytes] = {}
        self.health: dict[str, HealthItem] = {}
        self.refreshes: list[tuple[RefreshKind, str]] = []
        self.lines: list[tuple[LogLevel, str, dict[str, JsonValue]]] = []
        self.gateway = GatewayStatus("0", BackendState.RUNNING)
        self.shown: tuple[PluginPanel, ...] = ()
        self.feed = ChangeFeed()
        """`feed.note(kind)` wakes whoever follows `changes`."""
        self.listens: list[ListenPlace] = []
        self.findings: tuple[Finding, ...] = ()
        self.held: dict[tuple[str, str], float] = {}
        """Addresses and interfaces that the plugin holds, with the time until which it asked for."""
        self.woken: list[tuple[str, str, str]] = []
        """Hardware address, interface and gateway of each host that the plugin had woken."""
        self.known_neighbours: tuple[Neighbour, ...] = ()
        self.refuse_wake: Exception | None = None
        self.groups: list[tuple[str, str, int]] = []
        """Interface, group and port of each that the plugin joined; its sockets are real, on 127.0.0.1 and ::1."""
        self.absent_groups: set[tuple[str, str]] = set()
        """Interfaces and groups that cannot be joined."""
        self.silent: set[str] = set()
        """Addresses outside the mesh that do not answer `reach`; all others do."""
        self.probed: list[str] = []
        self.answers = AnswerFeed()
        """What is reported; `answers.note(answer)` plays the resolver."""
        self.capabilities: dict[str, tuple[JsonValue, ...]] = {}
        """This node's, by name."""
        self.exit_url = ""
        self.shielded = False
        self.resolver_wishes: list[ResolverWish] = []
        self.refuse_resolver: Exception | None = None
        self.acts: list[tuple[str, str]] = []
        self.fields: dict[str, tuple[SettingField, ...]] = {}
        """Settings by plugin."""
        self.changes_made: list[tuple[str, dict[str, JsonValue]]] = []
        self.setting_problems: tuple[SettingProblem, ...] = ()
        """Why `change_settings` refuses; with none it takes everything."""
        self.grants: dict[str, tuple[str, ...]] = {}
        """Application capabilities by peer."""
        self.udp_ports: list[MemoryUdpPort] = []
        """Those that the plugin opened, as twins in memory; a port number of 0 becomes 40000."""
        self.devices: list[tuple[PacketDevice, MemoryTunPort]] = []
        """Those that the plugin opened, as twins in memory."""
        self.exit_datagrams: list[MemoryExitDatagrams] = []
        """What `take_datagrams` gave; their `take` plays the firewall."""
        self.refuse_datagrams: Exception | None = None
        self.kernel_relays: list[MemoryKernelRelay] = []
        """Those that the plugin opened, as twins in memory."""
        self.refuse_kernel_relay: KernelRelayError | None = None
        """Raised by `relay_in_kernel`."""
        self.own_addresses: tuple[str, ...] = ()
        self.stun: tuple[str, ...] = ()
        self.confirms = 0
        self.traffic: dict[str, QueueTraffic] = {}
        """Of traffic shapes, by name."""

    @property
    def plugin(self) -> str:
        return self._plugin

    async def netmap(self) -> NetmapSnapshot:
        return self.snapshot

    async def node(self, stable_id: str) -> NodeInfo | None:
        nodes = (self.snapshot.self_node, *self.snapshot.peers)
        return next((node for node in nodes if node is not None and node.stable_id == stable_id), None)

    async def whois(self, address: str) -> NodeInfo | None:
        nodes = (self.snapshot.self_node, *self.snapshot.peers)
        return next((node for node in nodes if node is not None and address in node.addresses), None)

    async def listen(self, place: ListenPlace) -> socket.socket:
        self.listens.append(place)
        if place.transport is Transport.UDP:
            listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            listener.bind(("127.0.0.1", 0))
        else:
            listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        return listener

    async def set_resolver(self, wish: ResolverWish) -> None:
        if self.refuse_resolver is not None:
            raise self.refuse_resolver
        self.resolver_wishes.append(wish)

    async def exit_resolver(self) -> str:
        return self.exit_url

    async def site_shielded(self) -> bool:
        return self.shielded

    async def report_answer(self, answer: DnsAnswer) -> None:
        self.answers.note(answer)

    async def wait_answers(self, after: int) -> DnsAnswers:
        return await self.answers.wait(after)

    async def capability(self, name: str) -> tuple[JsonValue, ...]:
        return self.capabilities.get(name, ())

    async def status(self, *, peers: bool = True) -> GatewayStatus:
        return self.gateway if peers else replace(self.gateway, peers=())

    async def panels(self) -> tuple[PluginPanel, ...]:
        return self.shown

    async def wait_change(self, after: int) -> StatusChange:
        return await self.feed.wait(after)

    def changes(self, *, pause_s: float = PAUSE_S) -> AsyncIterator[StatusChange]:
        return follow(self, pause_s)

    async def act(self, plugin: str, label: str) -> None:
        self.acts.append((plugin, label))

    async def setting_fields(self, plugin: str) -> tuple[SettingField, ...]:
        return self.fields.get(plugin, ())

    async def change_settings(self, plugin: str, settings: Mapping[str, JsonValue]) -> tuple[SettingProblem, ...]:
        if not self.setting_problems:
            self.changes_made.append((plugin, dict(settings)))
        return self.setting_problems

    async def confirm(self) -> None:
        self.confirms += 1

    async def attached_prefixes(self) -> tuple[AttachedPrefix, ...]:
        return self.attached

    async def facts(self) -> HostFacts:
        return self.host_facts

    async def hold_address(self, address: str, interface: str, seconds: int) -> None:
        self.held[address, interface] = self.time.now() + seconds

    async def drop_address(self, address: str, interface: str) -> None:
        self.held.pop((address, interface), None)

    async def wake(self, mac: str, interface: str = "", via: str = "") -> WakeReport:
        if self.refuse_wake is not None:
            raise self.refuse_wake
        self.woken.append((mac, interface, via))
        return WakeReport(sent=(interface or "lan0",))

    async def neighbours(self) -> tuple[Neighbour, ...]:
        return self.known_neighbours

    async def join_group(self, interface: str, group: str, port: int) -> socket.socket:
        if (interface, group) in self.absent_groups:
            raise ApplianceError(f"no group {group} on {interface}", mend="has it an address of that IP version?")
        self.groups.append((interface, group, port))
        is_v6 = ":" in group
        member = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            member.bind(("::1" if is_v6 else "127.0.0.1", 0))
        except OSError:  # a host without IPv6
            member.close()
            raise
        member.setblocking(False)
        return member

    async def examine(self) -> tuple[Finding, ...]:
        return self.findings

    async def granted(self, stable_id: str) -> tuple[str, ...]:
        return self.grants.get(stable_id, ())

    async def shape_traffic(self) -> Mapping[str, QueueTraffic]:
        return dict(self.traffic)

    async def open_udp(self, port: int) -> tuple[UdpPort, ...]:
        opened = [MemoryUdpPort(AddrPort(ip, port or 40000)) for ip in ("0.0.0.0", "::")]  # noqa: S104  # the port's form
        self.udp_ports += opened
        return tuple(opened)

    async def open_device(self, device: PacketDevice) -> TunPort:
        port = MemoryTunPort(device.name)
        self.devices.append((device, port))
        return port

    async def take_datagrams(self) -> ExitDatagrams:
        if self.refuse_datagrams is not None:
            raise self.refuse_datagrams
        self.exit_datagrams.append(MemoryExitDatagrams())
        return self.exit_datagrams[-1]

    async def relay_in_kernel(self, port: int) -> KernelRelay:
        if self.refuse_kernel_relay is not None:
            raise self.refuse_kernel_relay
        self.kernel_relays.append(MemoryKernelRelay(port))
        return self.kernel_relays[-1]

    async def underlay_addresses(self) -> tuple[str, ...]:
        return self.own_addresses

    async def stun_servers(self) -> tuple[str, ...]:
        return self.stun

    async def reach(self, address: str, timeout_s: float) -> float | None:
        self.probed.append(address)
        if address in self.silent:
            await self.sleep(timeout_s)
            return None
        return 0.001

    async def request_refresh(self, kind: RefreshKind, reason: str) -> None:
        self.refreshes.append((kind, reason))

    async def request_router_refresh(self, reason: str) -> None:
        await self.request_refresh(RefreshKind.ROUTER, reason)

    async def set_health(self, item: HealthItem) -> None:
        self.health[item.code] = item

    async def clear_health(self, code: str) -> None:
        self.health.pop(code, None)

    async def log(self, level: LogLevel, event: str, fields: Mapping[str, JsonValue] | None = None) -> None:
        self.lines.append((level, event, dict(fields or {})))

    async def config(self) -> Mapping[str, JsonValue]:
        return dict(self.table)

    async def store_get(self, name: str) -> bytes | None:
        return self.store.get(name)

    async def store_put(self, name: str, value: bytes) -> None:
        if not name or len(name) > MAX_STORE_KEY or len(value) > MAX_STORE_VALUE:
            raise StateError(f"store entry {name[:MAX_STORE_KEY]!r} is too long")
        self.store[name] = bytes(value)

    async def store_delete(self, name: str) -> None:
        self.store.pop(name, None)

    async def now(self) -> float:
        return self.time.now()

    async def wall_now(self) -> datetime:
        return self.time.wall_now()

    async def sleep(self, seconds: float) -> None:
        await self.time.sleep(seconds)
