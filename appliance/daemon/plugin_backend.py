"""What the plugin host gets from this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from appliance.api.values import AttachedPrefix, HealthItem, HostFacts, JsonValue, LogLevel, NetmapSnapshot, NodeInfo
from appliance.api.values import RefreshKind as Kind
from appliance.daemon.applier import Situation
from appliance.daemon.parts import HostLinks
from appliance.daemon.plugin_store import PluginStore
from appliance.health.tracker import HealthTracker
from appliance.pluginhost import snapshots
from appliance.ports.clock import Clock
from appliance.ports.randomness import Randomness
from appliance.types.ids import StableNodeId

_FORWARDING = {4: Path("/proc/sys/net/ipv4/ip_forward"), 6: Path("/proc/sys/net/ipv6/conf/all/forwarding")}


class PluginBackend:
    """`refresh` is the applier's, given after both are made."""

    def __init__(
        self,
        clock: Clock,
        randomness: Randomness,
        health: HealthTracker,
        links: HostLinks,
        store: PluginStore,
        situation: Situation,
    ) -> None:
        self._clock = clock
        self._randomness = randomness
        self._health = health
        self._links = links
        self._store = store
        self._situation = situation
        self._log = structlog.get_logger("plugin")
        self.refresh: Callable[[Kind], None] = lambda _kind: None

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
        return snapshots.snapshot(view.self_node, view.peers.values(), view.users, view.domain)

    def node(self, stable_id: str) -> NodeInfo | None:
        view = self._situation.view
        if view is None:
            return None
        node = view.self_node
        if node is None or node.stable_id != stable_id:
            node = view.peer_by_stable_id(StableNodeId(stable_id))
        return snapshots.node_info(node, view.users) if node is not None else None

    def attached_prefixes(self) -> tuple[AttachedPrefix, ...]:
        return tuple(AttachedPrefix(lan.prefix, lan.interface, lan.address) for lan in self._links.lans())

    def facts(self) -> HostFacts:
        connected = self._situation.view is not None and self._situation.view.self_node is not None
        return HostFacts(_is_on(_FORWARDING[4]), _is_on(_FORWARDING[6]), connected)

    def request_refresh(self, kind: Kind, reason: str) -> None:
        self._log.debug("refresh requested", kind=str(kind), reason=reason)
        self.refresh(kind)

    def set_health(self, source: str, item: HealthItem) -> None:
        code = f"{source}.{item.code}"
        self._health.set(code, item.text, mend=item.mend, severity=item.severity, source=source)

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


def _is_on(setting: Path) -> bool | None:
    try:
        return setting.read_text().strip() != "0"
    except OSError:
        return None
