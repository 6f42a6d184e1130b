"""`HostHandle` inside a plugin's own process: methods travel to `waypostd`, time stays here."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from appliance.api.changes import PAUSE_S, follow
from appliance.api.dns import DnsAnswer, DnsAnswers, ResolverWish
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
    WakeReport,
)
from appliance.pluginhost.errors import PluginError
from appliance.ports.clock import Clock
from appliance.ports.exit_datagrams import ExitDatagrams
from appliance.ports.kernel_relay import KernelRelay
from appliance.ports.netlink import QueueTraffic
from appliance.ports.packets import TunPort, UdpPort

Ask = Callable[..., Awaitable[Any]]
"""`ask(method, *arguments)`: the method's result from the other side. Raises `ApplianceError`."""


class RemoteHandle:
    def __init__(self, plugin: str, ask: Ask, clock: Clock) -> None:
        self._plugin = plugin
        self._ask = ask
        self._clock = clock

    @property
    def plugin(self) -> str:
        return self._plugin

    async def netmap(self) -> NetmapSnapshot:
        found: NetmapSnapshot = await self._ask("netmap")
        return found

    async def node(self, stable_id: str) -> NodeInfo | None:
        found: NodeInfo | None = await self._ask("node", stable_id)
        return found

    async def whois(self, address: str) -> NodeInfo | None:
        found: NodeInfo | None = await self._ask("whois", address)
        return found

    async def attached_prefixes(self) -> tuple[AttachedPrefix, ...]:
        found: tuple[AttachedPrefix, ...] = await self._ask("attached_prefixes")
        return found

    async def facts(self) -> HostFacts:
        found: HostFacts = await self._ask("facts")
        return found

    async def hold_address(self, address: str, interface: str, seconds: int) -> None:
        await self._ask("hold_address", address, interface, seconds)

    async def drop_address(self, address: str, interface: str) -> None:
        await self._ask("drop_address", address, interface)

    async def wake(self, mac: str, interface: str = "", via: str = "") -> WakeReport:
        found: WakeReport = await self._ask("wake", mac, interface, via)
        return found

    async def neighbours(self) -> tuple[Neighbour, ...]:
        found: tuple[Neighbour, ...] = await self._ask("neighbours")
        return found

    async def join_group(self, interface: str, group: str, port: int) -> socket.socket:
        member = socket.socket(fileno=await self._ask("join_group", interface, group, port))
        member.setblocking(False)
        return member

    async def examine(self) -> tuple[Finding, ...]:
        found: tuple[Finding, ...] = await self._ask("examine")
        return found

    async def granted(self, stable_id: str) -> tuple[str, ...]:
        found: tuple[str, ...] = await self._ask("granted", stable_id)
        return found

    async def shape_traffic(self) -> Mapping[str, QueueTraffic]:
        found: Mapping[str, QueueTraffic] = await self._ask("shape_traffic")
        return found

    async def open_udp(self, port: int) -> tuple[UdpPort, ...]:
        text = f"may not open UDP port {port} from a process of its own"
        raise PluginError(self._plugin, text, mend='set placement = "inline" in its manifest.toml')

    async def open_device(self, device: PacketDevice) -> TunPort:
        text = f"may not open the network device {device.name} from a process of its own"
        raise PluginError(self._plugin, text, mend='set placement = "inline" in its manifest.toml')

    async def take_datagrams(self) -> ExitDatagrams:
        text = "may not take an exit's datagrams from a process of its own"
        raise PluginError(self._plugin, text, mend='set placement = "inline" in its manifest.toml')

    async def relay_in_kernel(self, port: int) -> KernelRelay:
        text = f"may not relay UDP port {port} in the kernel from a process of its own"
        raise PluginError(self._plugin, text, mend='set placement = "inline" in its manifest.toml')

    async def underlay_addresses(self) -> tuple[str, ...]:
        found: tuple[str, ...] = await self._ask("underlay_addresses")
        return found

    async def stun_servers(self) -> tuple[str, ...]:
        found: tuple[str, ...] = await self._ask("stun_servers")
        return found

    async def reach(self, address: str, timeout_s: float) -> float | None:
        found: float | None = await self._ask("reach", address, timeout_s)
        return found

    async def request_refresh(self, kind: RefreshKind, reason: str) -> None:
        await self._ask("request_refresh", kind, reason)

    async def request_router_refresh(self, reason: str) -> None:
        await self.request_refresh(RefreshKind.ROUTER, reason)

    async def listen(self, place: ListenPlace) -> socket.socket:
        listener = socket.socket(fileno=await self._ask("listen", place))
        listener.setblocking(False)
        return listener

    async def set_resolver(self, wish: ResolverWish) -> None:
        await self._ask("set_resolver", wish)

    async def exit_resolver(self) -> str:
        found: str = await self._ask("exit_resolver")
        return found

    async def site_shielded(self) -> bool:
        found: bool = await self._ask("site_shielded")
        return found

    async def report_answer(self, answer: DnsAnswer) -> None:
        await self._ask("report_answer", answer)

    async def wait_answers(self, after: int) -> DnsAnswers:
        found: DnsAnswers = await self._ask("wait_answers", after)
        return found

    async def capability(self, name: str) -> tuple[JsonValue, ...]:
        found: tuple[JsonValue, ...] = await self._ask("capability", name)
        return found

    async def status(self, *, peers: bool = True) -> GatewayStatus:
        found: GatewayStatus = await self._ask("status", peers)
        return found

    async def panels(self) -> tuple[PluginPanel, ...]:
        found: tuple[PluginPanel, ...] = await self._ask("panels")
        return found

    async def wait_change(self, after: int) -> StatusChange:
        found: StatusChange = await self._ask("wait_change", after)
        return found

    def changes(self, *, pause_s: float = PAUSE_S) -> AsyncIterator[StatusChange]:
        return follow(self, pause_s)

    async def act(self, plugin: str, label: str) -> None:
        await self._ask("act", plugin, label)

    async def setting_fields(self, plugin: str) -> tuple[SettingField, ...]:
        found: tuple[SettingField, ...] = await self._ask("setting_fields", plugin)
        return found

    async def change_settings(self, plugin: str, settings: Mapping[str, JsonValue]) -> tuple[SettingProblem, ...]:
        found: tuple[SettingProblem, ...] = await self._ask("change_settings", plugin, dict(settings))
        return found

    async def confirm(self) -> None:
        await self._ask("confirm")

    async def set_health(self, item: HealthItem) -> None:
        await self._ask("set_health", item)

    async def clear_health(self, code: str) -> None:
        await self._ask("clear_health", code)

    async def log(self, level: LogLevel, event: str, fields: Mapping[str, JsonValue] | None = None) -> None:
        await self._ask("log", level, event, fields)

    async def config(self) -> Mapping[str, JsonValue]:
        found: Mapping[str, JsonValue] = await self._ask("config")
        return found

    async def store_get(self, name: str) -> bytes | None:
        found: bytes | None = await self._ask("store_get", name)
        return found

    async def store_put(self, name: str, value: bytes) -> None:
        await self._ask("store_put", name, value)

    async def store_delete(self, name: str) -> None:
        await self._ask("store_delete", name)

    async def now(self) -> float:
        return self._clock.now()

    async def wall_now(self) -> datetime:
        return self._clock.wall_now()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
