"""`HostHandle` for plugins in this process: the backend, narrowed to one plugin."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from datetime import datetime

from appliance.api.changes import PAUSE_S, follow
from appliance.api.dns import DnsAnswer, DnsAnswers, ResolverWish
from appliance.api.host import MAX_STORE_KEY, MAX_STORE_VALUE
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
    Right,
    SettingField,
    SettingProblem,
    StatusChange,
    WakeReport,
)
from appliance.pluginhost.backend import HostBackend
from appliance.pluginhost.errors import PluginError
from appliance.ports.exit_datagrams import ExitDatagrams
from appliance.ports.kernel_relay import KernelRelay
from appliance.ports.netlink import QueueTraffic
from appliance.ports.packets import TunPort, UdpPort
from appliance.types.errors import StateError

MAX_HEALTH_ITEMS = 32
MAX_REACH_S = 10.0
MAX_HOLD_S = 60


class InlineHandle:
    """`table` gives the plugin's effective settings, `rights` what its manifest asks for."""

    def __init__(
        self,
        plugin: str,
        backend: HostBackend,
        table: Callable[[], Mapping[str, JsonValue]],
        rights: Collection[Right] = (),
    ) -> None:
        self._plugin = plugin
        self._rights = frozenset(rights)
        self._health: set[str] = set()
        self._backend = backend
        self._table = table

    @property
    def plugin(self) -> str:
        return self._plugin

    async def netmap(self) -> NetmapSnapshot:
        return self._backend.netmap()

    async def node(self, stable_id: str) -> NodeInfo | None:
        return self._backend.node(stable_id)

    async def whois(self, address: str) -> NodeInfo | None:
        return self._backend.whois(address)

    async def listen(self, place: ListenPlace) -> socket.socket:
        self._need(Right.LISTEN)
        return self._backend.listen(self._plugin, place)

    async def set_resolver(self, wish: ResolverWish) -> None:
        self._need(Right.RESOLVER)
        await self._backend.set_resolver(wish)

    async def exit_resolver(self) -> str:
        return self._backend.exit_resolver()

    async def site_shielded(self) -> bool:
        return self._backend.site_shielded()

    async def report_answer(self, answer: DnsAnswer) -> None:
        self._need(Right.RESOLVER)
        self._backend.answers.note(answer)

    async def wait_answers(self, after: int) -> DnsAnswers:
        self._need(Right.ANSWERS)
        return await self._backend.answers.wait(after)

    async def capability(self, name: str) -> tuple[JsonValue, ...]:
        return self._backend.capability(name)

    async def status(self, *, peers: bool = True) -> GatewayStatus:
        self._need(Right.STATUS)
        return self._backend.status(peers=peers)

    async def panels(self) -> tuple[PluginPanel, ...]:
        self._need(Right.STATUS)
        return await self._backend.panels()

    async def wait_change(self, after: int) -> StatusChange:
        self._need(Right.STATUS)
        return await self._backend.feed.wait(after)

    def changes(self, *, pause_s: float = PAUSE_S) -> AsyncIterator[StatusChange]:
        return follow(self, pause_s)

    async def act(self, plugin: str, label: str) -> None:
        self._need(Right.ACT)
        await self._backend.act(plugin, label)

    async def setting_fields(self, plugin: str) -> tuple[SettingField, ...]:
        self._need(Right.ACT)
        return self._backend.setting_fields(plugin)

    async def change_settings(self, plugin: str, settings: Mapping[str, JsonValue]) -> tuple[SettingProblem, ...]:
        self._need(Right.ACT)
        return await self._backend.change_settings(plugin, settings)

    async def confirm(self) -> None:
        self._need(Right.ACT)
        await self._backend.confirm()

    async def attached_prefixes(self) -> tuple[AttachedPrefix, ...]:
        return self._backend.attached_prefixes()

    async def facts(self) -> HostFacts:
        return self._backend.facts()

    async def hold_address(self, address: str, interface: str, seconds: int) -> None:
        self._need(Right.ADDRESSES)
        self._backend.hold_address(address, interface, min(max(seconds, 1), MAX_HOLD_S))

    async def drop_address(self, address: str, interface: str) -> None:
        self._need(Right.ADDRESSES)
        self._backend.drop_address(address, interface)

    async def wake(self, mac: str, interface: str = "", via: str = "") -> WakeReport:
        self._need(Right.LAN)
        return await self._backend.wake(mac, interface, via)

    async def neighbours(self) -> tuple[Neighbour, ...]:
        self._need(Right.LAN)
        return self._backend.neighbours()

    async def join_group(self, interface: str, group: str, port: int) -> socket.socket:
        self._need(Right.LAN)
        return self._backend.join_group(interface, group, port)

    async def examine(self) -> tuple[Finding, ...]:
        self._need(Right.STATUS)
        return await self._backend.examine()

    async def granted(self, stable_id: str) -> tuple[str, ...]:
        return self._backend.granted(stable_id)

    async def shape_traffic(self) -> Mapping[str, QueueTraffic]:
        return await self._backend.shape_traffic()

    async def open_udp(self, port: int) -> tuple[UdpPort, ...]:
        self._need(Right.UNDERLAY)
        return tuple(self._backend.open_udp(port))

    async def open_device(self, device: PacketDevice) -> TunPort:
        self._need(Right.PACKETS)
        return self._backend.open_device(self._plugin, device)

    async def take_datagrams(self) -> ExitDatagrams:
        self._need(Right.PACKETS)
        return self._backend.take_datagrams()

    async def relay_in_kernel(self, port: int) -> KernelRelay:
        self._need(Right.UNDERLAY)
        return await self._backend.relay_in_kernel(port)

    async def underlay_addresses(self) -> tuple[str, ...]:
        self._need(Right.UNDERLAY)
        return self._backend.underlay_addresses()

    async def stun_servers(self) -> tuple[str, ...]:
        self._need(Right.UNDERLAY)
        return await self._backend.stun_servers()

    async def reach(self, address: str, timeout_s: float) -> float | None:
        self._need(Right.PROBE)
        return await self._backend.reach(address, min(max(timeout_s, 0.0), MAX_REACH_S))

    async def request_refresh(self, kind: RefreshKind, reason: str) -> None:
        self._backend.request_refresh(kind, f"{self._plugin}: {reason}")

    async def request_router_refresh(self, reason: str) -> None:
        await self.request_refresh(RefreshKind.ROUTER, reason)

    async def set_health(self, item: HealthItem) -> None:
        if item.code not in self._health and len(self._health) >= MAX_HEALTH_ITEMS:
            raise PluginError(self._plugin, f"raises more than {MAX_HEALTH_ITEMS} health items")
        self._health.add(item.code)
        self._backend.set_health(self._plugin, item)

    async def clear_health(self, code: str) -> None:
        self._health.discard(code)
        self._backend.clear_health(self._plugin, code)

    def release(self) -> None:
        """The plugin is gone: what it raised goes with it."""
        for code in self._health:
            self._backend.clear_health(self._plugin, code)
        self._health.clear()

    async def log(self, level: LogLevel, event: str, fields: Mapping[str, JsonValue] | None = None) -> None:
        self._backend.log(self._plugin, level, event, dict(fields or {}))

    async def config(self) -> Mapping[str, JsonValue]:
        return dict(self._table())

    async def store_get(self, name: str) -> bytes | None:
        return await self._backend.store_get(self._plugin, self._checked(name))

    async def store_put(self, name: str, value: bytes) -> None:
        if len(value) > MAX_STORE_VALUE:
            raise StateError(f"plugin {self._plugin}: store entry {name!r} is longer than {MAX_STORE_VALUE} bytes")
        await self._backend.store_put(self._plugin, self._checked(name), value)

    async def store_delete(self, name: str) -> None:
        await self._backend.store_delete(self._plugin, self._checked(name))

    async def now(self) -> float:
        return self._backend.clock.now()

    async def wall_now(self) -> datetime:
        return self._backend.clock.wall_now()

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)

    def _need(self, right: Right) -> None:
        if right not in self._rights:
            mend = f"add '{right}' to 'rights' in its manifest.toml"
            raise PluginError(self._plugin, f"lacks the right '{right}'", mend=mend)

    def _checked(self, name: str) -> str:
        if not name or len(name) > MAX_STORE_KEY:
            raise StateError(f"plugin {self._plugin}: a store name has 1 to {MAX_STORE_KEY} characters")
        return name
