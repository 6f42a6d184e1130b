"""What the plugin host gets from this process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from appliance.api.answers import AnswerFeed
from appliance.api.changes import ChangeFeed
from appliance.api.dns import ResolverWish
from appliance.api.values import (
    AttachedPrefix,
    CommandReply,
    EgressGuard,
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
    PanelAction,
    PluginPanel,
    SettingField,
    SettingProblem,
    WakeReport,
)
from appliance.api.values import RefreshKind as Kind
from appliance.daemon.applier import Situation
from appliance.daemon.parts import HostLinks, Lan
from appliance.daemon.plugin_devices import PluginDevices
from appliance.daemon.plugin_listeners import PluginListeners
from appliance.daemon.plugin_store import PluginStore
from appliance.daemon.relay_desk import granted
from appliance.daemon.stun_servers import stun_servers
from appliance.drivers import shared_address
from appliance.drivers.helper import HelperClient
from appliance.drivers.icmp import IcmpPinger
from appliance.drivers.lan_datagrams import open_group
from appliance.drivers.neighbours import read_neighbours
from appliance.drivers.sockets import OpenSocket, bypassing_socket, open_socket
from appliance.drivers.tun import open_tun
from appliance.drivers.udp import open_udp_ports
from appliance.health.tracker import HealthTracker
from appliance.localapi.schema import PrefsPatch, PrefsView, Status
from appliance.pluginhost import snapshots
from appliance.ports.clock import Clock
from appliance.ports.exit_datagrams import ExitDatagrams
from appliance.ports.kernel_relay import KernelRelay, KernelRelayError
from appliance.ports.netlink import MIN_IPV6_MTU, QueueTraffic
from appliance.ports.packets import TunPort, UdpPort
from appliance.ports.randomness import Randomness
from appliance.proto.peerapi.location import NAMES_PATH, peer_endpoint
from appliance.types.addresses import Address, literal
from appliance.types.errors import ApplianceError, ConfigError
from appliance.types.ids import StableNodeId

_FORWARDING = {4: Path("/proc/sys/net/ipv4/ip_forward"), 6: Path("/proc/sys/net/ipv6/conf/all/forwarding")}

DNS_PROXY, DNS_PROXY_VERSION = "peerapi-dns-proxy", 26
"""Exits look names up when they say so, or from this capability version on (apps spec 1.1)."""
TRIAL_S = 60.0
"""Seconds in which a button's change must be confirmed: it may cut off the very page that it was pressed on."""


LOCAL_GROUPS = (ip_network("224.0.0.0/24"), ip_network("ff02::/16"))
"""Multicast that no router forwards."""


class StatusSource(Protocol):
    """The gateway, as far as plugins may see and steer it."""

    def status(self, *, peers: bool = True) -> Status: ...

    async def set_prefs(self, patch: PrefsPatch) -> PrefsView: ...

    async def confirm(self) -> PrefsView: ...


class PluginBackend:
    """`refresh` is the applier's, `gateway` and `all_panels` come last: each is given after both sides are made."""

    def __init__(
        self,
        clock: Clock,
        randomness: Randomness,
        health: HealthTracker,
        links: HostLinks,
        store: PluginStore,
        situation: Situation,
        sockets: OpenSocket = open_socket,
        helper: HelperClient | None = None,
        interface: str = "",
        devices: PluginDevices | None = None,
    ) -> None:
        self._clock = clock
        self._randomness = randomness
        self._health = health
        self._links = links
        self._store = store
        self._situation = situation
        self._log = structlog.get_logger("plugin")
        self._listeners = PluginListeners(self._own_addresses, sockets)
        self._pinger = IcmpPinger(clock, randomness, bypassing_socket)
        self._helper = helper
        self._interface = interface
        self.devices = devices or PluginDevices(open_tun, interface)
        self.refresh: Callable[[Kind], None] = lambda _kind: None
        self.open_underlay: Callable[[int], Sequence[UdpPort]] = open_udp_ports
        """Opens UDP ports outside the tunnel; given with this host's mark by the wiring."""
        self.tunnel_mtu = MIN_IPV6_MTU
        self.open_kernel_relay: Callable[[int], Awaitable[KernelRelay]] = _no_kernel_relay
        """Has the kernel forward for a relay's port; given by the wiring."""
        self.read_shapes: Callable[[], Awaitable[Mapping[str, QueueTraffic]]] = _no_shapes
        """What the router's traffic shapes did, by name; given by the wiring."""
        self.gateway: StatusSource | None = None
        self.examination: Callable[[], Awaitable[tuple[Finding, ...]]] = _no_findings
        self.all_panels: Callable[[], Awaitable[tuple[PluginPanel, ...]]] = _no_panels
        self.wake_host: Callable[[str, str, str], Awaitable[WakeReport]] = _no_wake
        """Hardware address, interface, gateway; given once the mesh services are there."""
        self.run_command: Callable[[str, str, tuple[str, ...]], Awaitable[CommandReply]] = _no_command
        self.fields_of: Callable[[str], tuple[SettingField, ...]] = lambda _plugin: ()
        """A plugin's settings; given once the plugins are there."""
        self.feed = ChangeFeed()
        self.answers = AnswerFeed()
        self.exit_in_use: Callable[[], str] = lambda: ""
        """Stable id of the exit that a plugin chose; given once the plugins are there."""
        self.egress_guard: Callable[[], EgressGuard | None] = lambda: None
        """What a plugin has the traffic held by; given with them."""

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def randomness(self) -> Randomness:
        return self._randomness

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def netmap(self) -> NetmapSnapshot:
        view = self._situation.view
        if view is None:
            return NetmapSnapshot()
        return snapshots.snapshot(view.self_node, view.peers.values(), view.users, view.domain, view.dns)

    def node(self, stable_id: str) -> NodeInfo | None:
        view = self._situation.view
        if view is None:
            return None
        node = view.self_node
        if node is None or node.stable_id != stable_id:
            node = view.peer_by_stable_id(StableNodeId(stable_id))
        return snapshots.node_info(node, view.users) if node is not None else None

    def whois(self, address: str) -> NodeInfo | None:
        view, wanted = self._situation.view, literal(address)
        if view is None or wanted is None:
            return None
        node = view.self_node if wanted in self._own_addresses() else view.peer_by_address(wanted)
        return snapshots.node_info(node, view.users) if node is not None else None

    def status(self, *, peers: bool = True) -> GatewayStatus:
        """The local API's status in the plugin API's words: the fields have the same names."""
        return msgspec.convert(self._gateway().status(peers=peers), GatewayStatus, from_attributes=True)

    async def panels(self) -> tuple[PluginPanel, ...]:
        return await self.all_panels()

    async def act(self, plugin: str, label: str) -> None:
        for shown in await self.all_panels():
            for action in shown.panel.actions:
                if (shown.plugin, action.label) == (plugin, label):
                    await self._press(plugin, action)
                    return
        text = f"the panel of {plugin} has no button {label!r} now"
        raise ApplianceError(text, mend="look at the page again", code="no-such-action")

    async def _press(self, plugin: str, action: PanelAction) -> None:
        if not action.command:
            patch = PrefsPatch(plugins={plugin: dict(action.settings)}, confirm_within_s=TRIAL_S)
            await self._gateway().set_prefs(patch)
            return
        reply = await self.run_command(plugin, action.command[0], action.command[1:])
        if not reply.ok:
            raise ApplianceError(reply.text, code="action-refused")

    def setting_fields(self, plugin: str) -> tuple[SettingField, ...]:
        return self.fields_of(plugin)

    async def change_settings(self, plugin: str, settings: Mapping[str, JsonValue]) -> tuple[SettingProblem, ...]:
        patch = PrefsPatch(plugins={plugin: dict(settings)}, confirm_within_s=TRIAL_S)
        try:
            await self._gateway().set_prefs(patch)
        except ConfigError as error:
            above = f"plugins.{plugin}."
            return (SettingProblem(error.key.removeprefix(above), error.text.removeprefix(above), error.mend),)
        return ()

    async def confirm(self) -> None:
        await self._gateway().confirm()

    def listen(self, plugin: str, place: ListenPlace) -> socket.socket:
        return self._listeners.open(plugin, place)

    def capability(self, name: str) -> tuple[JsonValue, ...]:
        view = self._situation.view
        node = view.self_node if view is not None else None
        return tuple(node.cap_map.get(name, ())) if node is not None else ()

    def exit_resolver(self) -> str:
        view, wanted = self._situation.view, self.exit_in_use()
        if view is None or view.self_node is None or not wanted:
            return ""
        node = view.peer_by_stable_id(StableNodeId(wanted))
        if node is None:
            return ""
        offered = {proto for proto, _, _ in node.services}
        if node.capability_version < DNS_PROXY_VERSION and DNS_PROXY not in offered:
            return ""
        endpoint = peer_endpoint(view.self_node, node)
        return f"http://{endpoint}{NAMES_PATH}" if endpoint is not None else ""

    def site_shielded(self) -> bool:
        guard = self.egress_guard()
        return guard is not None and guard.gateway_direct

    async def set_resolver(self, wish: ResolverWish) -> None:
        if self._helper is None:
            text = "this gateway does not change the host's resolver"
            raise ApplianceError(text, mend="run waypostd with its helper, not rootless", code="helper-away")
        place = {"way": str(wish.way), "interface": self._interface}
        await self._helper.set_resolver(wish.nameservers, wish.search, domains=wish.domains, **place)

    def released(self, plugin: str) -> None:
        self._listeners.released(plugin)

    def _gateway(self) -> StatusSource:
        if self.gateway is None:
            raise _starting()
        return self.gateway

    def _own_addresses(self) -> Sequence[Address]:
        node = self._situation.view.self_node if self._situation.view is not None else None
        found = [prefix.network_address for prefix in node.addresses] if node is not None else []
        return sorted(found, key=lambda address: address.version)

    def attached_prefixes(self) -> tuple[AttachedPrefix, ...]:
        return tuple(AttachedPrefix(lan.prefix, lan.interface, lan.address, lan.up) for lan in self._links.lans())

    def facts(self) -> HostFacts:
        connected = self._situation.view is not None and self._situation.view.self_node is not None
        return HostFacts(_is_on(_FORWARDING[4]), _is_on(_FORWARDING[6]), connected, self.tunnel_mtu)

    def hold_address(self, address: str, interface: str, seconds: int) -> None:
        lans = [lan for lan in self._links.lans() if lan.interface == interface]
        held = literal(address)
        if held is None or not _is_inside(held, lans) or any(lan.address == str(held) for lan in lans):
            mend = "give another address of the LAN that no host has"
            raise ApplianceError(f"{address} cannot be shared on {interface}", mend=mend, code="shared-address")
        shared_address.hold(held, interface, seconds)
        shared_address.announce(held, interface)

    def drop_address(self, address: str, interface: str) -> None:
        if (held := literal(address)) is not None:
            shared_address.drop(held, interface)

    async def wake(self, mac: str, interface: str, via: str) -> WakeReport:
        return await self.wake_host(mac, interface, via)

    def neighbours(self) -> tuple[Neighbour, ...]:
        attached = {lan.interface for lan in self._links.lans()}
        return tuple(Neighbour(*each) for each in read_neighbours() if each[2] in attached)

    def join_group(self, interface: str, group: str, port: int) -> socket.socket:
        if interface not in {lan.interface for lan in self._links.lans()}:
            names = ", ".join(sorted({lan.interface for lan in self._links.lans()})) or "none"
            raise ConfigError(f"no network is attached by {interface[:32]!r}", mend=f"attached are: {names}")
        if not _is_local_group(group):
            mend = f"give one of {LOCAL_GROUPS[0]} or {LOCAL_GROUPS[1]}"
            raise ConfigError(f"{group[:48]!r} is no group of one network", mend=mend)
        return open_group(interface, group, port)

    async def examine(self) -> tuple[Finding, ...]:
        return await self.examination()

    def granted(self, stable_id: str) -> tuple[str, ...]:
        view = self._situation.view
        if view is None:
            return ()
        own = view.self_node
        is_own = own is not None and own.stable_id == stable_id
        node = own if is_own else view.peer_by_stable_id(StableNodeId(stable_id))
        return granted(view, node) if node is not None else ()

    async def shape_traffic(self) -> Mapping[str, QueueTraffic]:
        return await self.read_shapes()

    def open_udp(self, port: int) -> Sequence[UdpPort]:
        return self.open_underlay(port)

    def open_device(self, plugin: str, device: PacketDevice) -> TunPort:
        return self.devices.open(plugin, device)

    def take_datagrams(self) -> ExitDatagrams:
        return self._listeners.take_datagrams()

    async def relay_in_kernel(self, port: int) -> KernelRelay:
        return await self.open_kernel_relay(port)

    def underlay_addresses(self) -> tuple[str, ...]:
        return tuple(str(address) for address in self._links.endpoint_addresses() if not address.is_loopback)

    async def stun_servers(self) -> tuple[str, ...]:
        view = self._situation.view
        own = view.self_node if view is not None else None
        return await stun_servers(view.derp_map, own.home_derp) if view is not None and own is not None else ()

    async def reach(self, address: str, timeout_s: float) -> float | None:
        try:
            return await self._pinger(ip_address(address), timeout_s, repeat_s=min(1.0, timeout_s / 2))
        except (ValueError, OSError):
            return None

    def request_refresh(self, kind: Kind, reason: str) -> None:
        self._log.debug("refresh requested", kind=str(kind), reason=reason)
        self.refresh(kind)

    def set_health(self, source: str, item: HealthItem) -> None:
        code = f"{source}.{item.code}"
        self._health.set(code, item.text, mend=item.mend, severity=item.severity)

    def clear_health(self, source: str, code: str) -> None:
        self._health.clear(f"{source}.{code}")

    def log(self, source: str, level: LogLevel, event: str, fields: Mapping[str, JsonValue]) -> None:
        getattr(self._log, level)(event, plugin=source, **{key: fields[key] for key in fields if key != "event"})

    async def store_get(self, namespace: str, name: str) -> bytes | None:
        return self._store.get(namespace, name)

    async def store_put(self, namespace: str, name: str, value: bytes) -> None:
        self._store.put(namespace, name, value)

    async def store_delete(self, namespace: str, name: str) -> None:
        self._store.delete(namespace, name)


async def _no_kernel_relay(port: int) -> KernelRelay:
    raise KernelRelayError(f"this gateway does not relay UDP port {port} in the kernel")


async def _no_shapes() -> Mapping[str, QueueTraffic]:
    return {}


async def _no_findings() -> tuple[Finding, ...]:
    return ()


async def _no_panels() -> tuple[PluginPanel, ...]:
    return ()


async def _no_wake(_mac: str, _interface: str, _via: str) -> WakeReport:
    raise _starting()


async def _no_command(_plugin: str, _command: str, _arguments: tuple[str, ...]) -> CommandReply:
    raise _starting()


def _starting() -> ApplianceError:
    return ApplianceError("the gateway is still starting", mend="try again in a second", code="starting")


def _is_inside(address: Address, lans: Sequence[Lan]) -> bool:
    """Link-local IPv6 is on every one of them."""
    if address.version == 6 and address.is_link_local:
        return bool(lans)
    return any(address in ip_network(lan.prefix) for lan in lans)


def _is_local_group(text: str) -> bool:
    group = literal(text)
    return group is not None and any(group in groups for groups in LOCAL_GROUPS)


def _is_on(setting: Path) -> bool | None:
    try:
        return setting.read_text().strip() != "0"
    except OSError:
        return None
