"""A backend twin and a way to make installed plugins in a folder."""

from __future__ import annotations

import socket
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from appliance.api.answers import AnswerFeed
from appliance.api.changes import ChangeFeed
from appliance.api.dns import ResolverWish
from appliance.api.testing import VirtualTime
from appliance.api.values import (
    AttachedPrefix,
    FieldKind,
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
from appliance.ports.exit_datagrams import ExitDatagrams, MemoryExitDatagrams
from appliance.ports.kernel_relay import KernelRelay, MemoryKernelRelay
from appliance.ports.netlink import QueueTraffic
from appliance.ports.packets import MemoryTunPort, MemoryUdpPort, TunPort, UdpPort
from appliance.ports.randomness import SeededRandomness
from appliance.types.addresses import AddrPort
from appliance.types.events import BackendState


class MemoryBackend:
    def __init__(self) -> None:
        self.clock = VirtualTime()
        self.randomness = SeededRandomness(1)
        self.snapshot = NetmapSnapshot()
        self.health: dict[tuple[str, str], HealthItem] = {}
        self.refreshes: list[RefreshKind] = []
        self.lines: list[tuple[str, str]] = []
        self.store: dict[tuple[str, str], bytes] = {}
        self.feed = ChangeFeed()
        self.acts: list[tuple[str, str]] = []
        self.wishes: list[ResolverWish] = []
        self.answers = AnswerFeed()

    async def sleep(self, seconds: float) -> None:
        await self.clock.sleep(seconds)

    def netmap(self) -> NetmapSnapshot:
        return self.snapshot

    def node(self, stable_id: str) -> NodeInfo | None:
        return next((peer for peer in self.snapshot.peers if peer.stable_id == stable_id), None)

    def whois(self, address: str) -> NodeInfo | None:
        return next((peer for peer in self.snapshot.peers if address in peer.addresses), None)

    def status(self, *, peers: bool = True) -> GatewayStatus:
        return GatewayStatus("0", BackendState.RUNNING)

    async def panels(self) -> tuple[PluginPanel, ...]:
        return ()

    async def set_resolver(self, wish: ResolverWish) -> None:
        self.wishes.append(wish)

    def exit_resolver(self) -> str:
        return "http://100.64.0.9:40000/dns-query"

    def site_shielded(self) -> bool:
        return True

    def capability(self, name: str) -> tuple[JsonValue, ...]:
        return ("value",) if name == "example.com/cap" else ()

    async def act(self, plugin: str, label: str) -> None:
        self.acts.append((plugin, label))

    def setting_fields(self, plugin: str) -> tuple[SettingField, ...]:
        return (SettingField("limit", FieldKind.NUMBER, value=len(plugin)),)

    async def change_settings(self, plugin: str, settings: Mapping[str, JsonValue]) -> tuple[SettingProblem, ...]:
        self.acts.append((plugin, str(settings)))
        return (SettingProblem("limit", "is negative", "give more"),) if settings.get("limit") == -1 else ()

    async def confirm(self) -> None:
        self.acts.append(("", "confirm"))

    def listen(self, plugin: str, place: ListenPlace) -> socket.socket:
        return socket.create_server(("127.0.0.1", place.port))

    def released(self, plugin: str) -> None:
        self.lines.append((plugin, "released"))

    def attached_prefixes(self) -> tuple[AttachedPrefix, ...]:
        return ()

    def facts(self) -> HostFacts:
        return HostFacts()

    def hold_address(self, address: str, interface: str, seconds: int) -> None:
        self.lines.append((interface, f"hold {address} for {seconds} s"))

    def drop_address(self, address: str, interface: str) -> None:
        self.lines.append((interface, f"drop {address}"))

    async def wake(self, mac: str, interface: str, via: str) -> WakeReport:
        self.lines.append((interface, f"wake {mac} at {via or 'home'}"))
        return WakeReport((interface,))

    def neighbours(self) -> tuple[Neighbour, ...]:
        return (Neighbour("192.168.1.9", "00:1a:2b:3c:4d:5e", "eth1"),)

    async def shape_traffic(self) -> Mapping[str, QueueTraffic]:
        return {"gateway-b": QueueTraffic(sent_bytes=1500, sent_packets=1, dropped_packets=2)}

    def join_group(self, interface: str, group: str, port: int) -> socket.socket:
        self.lines.append((interface, f"join {group}"))
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    async def examine(self) -> tuple[Finding, ...]:
        return (Finding("clock", "ok", "kept"),)

    def granted(self, stable_id: str) -> tuple[str, ...]:
        return ()

    async def relay_in_kernel(self, port: int) -> KernelRelay:
        return MemoryKernelRelay(port)

    def open_udp(self, port: int) -> Sequence[UdpPort]:
        return (MemoryUdpPort(AddrPort("0.0.0.0", port)),)

    def take_datagrams(self) -> ExitDatagrams:
        return MemoryExitDatagrams()

    def open_device(self, plugin: str, device: PacketDevice) -> TunPort:
        self.lines.append((plugin, f"open {device.name}"))
        return MemoryTunPort(device.name)

    def underlay_addresses(self) -> tuple[str, ...]:
        return ("192.0.2.1",)

    async def stun_servers(self) -> tuple[str, ...]:
        return ()

    async def reach(self, address: str, timeout_s: float) -> float | None:
        return timeout_s if address == "192.0.2.1" else None

    def request_refresh(self, kind: RefreshKind, reason: str) -> None:
        self.refreshes.append(kind)

    def set_health(self, source: str, item: HealthItem) -> None:
        self.health[source, item.code] = item

    def clear_health(self, source: str, code: str) -> None:
        self.health.pop((source, code), None)

    def log(self, source: str, level: LogLevel, event: str, fields: Mapping[str, JsonValue]) -> None:
        self.lines.append((source, event))

    async def store_get(self, namespace: str, name: str) -> bytes | None:
        return self.store.get((namespace, name))

    async def store_put(self, namespace: str, name: str, value: bytes) -> None:
        self.store[namespace, name] = value

    async def store_delete(self, namespace: str, name: str) -> None:
        self.store.pop((namespace, name), None)


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


Install = Callable[..., EntryPoint]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """`install(name, body=…, config=…, hooks=…, extra=…)`: a package on the path, with manifest and entry point."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[str] = []

    def make(
        name: str,
        body: str = "",
        *,
        config: str = "x: int = 0",
        hooks: tuple[str, ...] = (),
        extra: str = "",
        placement: str = "inline",
        api_version: int = 1,
    ) -> EntryPoint:
        package = f"sample_{name}"
        made.append(package)
        folder = tmp_path / package
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        (folder / "manifest.toml").write_text(
            f"""[plugin]
name = "{name}"
purpose = "A sample"
owner = "Tests"
api_version = {api_version}
placement = "{placement}"
config = "{package}.config:Config"
hooks = {list(hooks)}
{extra}
[quality]
docs = "done"
"""
        )
        lines = [
            "from dataclasses import dataclass",
            "from appliance.api import Secret, SettingError",
            "from typing import Annotated",
            "",
            "",
            "@dataclass",
        ]
        text = "\n".join(lines) + "(frozen=True)\nclass Config:\n" + textwrap.indent(textwrap.dedent(config), "    ")
        (folder / "config.py").write_text(text + "\n")
        head = "from appliance.api import *\nfrom appliance.api import hookimpl\n\n\nclass Plugin:\n"
        (folder / "hooks.py").write_text(head + textwrap.indent(textwrap.dedent(body) or "pass", "    ") + "\n")
        return EntryPoint(name, f"{package}.hooks:Plugin", "waypost.plugins")

    yield make
    for name in [name for name in sys.modules if name.partition(".")[0] in made]:
        del sys.modules[name]
