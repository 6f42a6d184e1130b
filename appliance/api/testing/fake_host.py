"""`FakeHost`: a `HostHandle` that keeps what a plugin asked for and gives what a test sets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from appliance.api.host import MAX_STORE_KEY, MAX_STORE_VALUE
from appliance.api.testing.virtual_time import VirtualTime
from appliance.api.values import (
    AttachedPrefix,
    HealthItem,
    HostFacts,
    JsonValue,
    LogLevel,
    NetmapSnapshot,
    NodeInfo,
    RefreshKind,
)
from appliance.types.errors import StateError


class FakeHost:
    """Set the public attributes; read `refreshes`, `health`, `lines` and `store` afterwards."""

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

    @property
    def plugin(self) -> str:
        return self._plugin

    async def netmap(self) -> NetmapSnapshot:
        return self.snapshot

    async def node(self, stable_id: str) -> NodeInfo | None:
        nodes = (self.snapshot.self_node, *self.snapshot.peers)
        return next((node for node in nodes if node is not None and node.stable_id == stable_id), None)

    async def attached_prefixes(self) -> tuple[AttachedPrefix, ...]:
        return self.attached

    async def facts(self) -> HostFacts:
        return self.host_facts

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
