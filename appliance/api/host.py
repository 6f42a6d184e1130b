"""`HostHandle`: the core as a plugin sees it, and `Service`, the plugin's long work as the core sees it.

All methods are async and take and give plain values, so that a plugin runs unchanged inside `waypostd` or in
`waypost-apps`. What belongs to one plugin (health codes, store keys, log lines) is kept apart by the core: none can
reach another's. Hooks are synchronous and cannot await: a hook keeps the handle, a service uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol, runtime_checkable

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

MAX_STORE_KEY = 128
MAX_STORE_VALUE = 256 * 1024


class HostHandle(Protocol):
    """One per plugin."""

    @property
    def plugin(self) -> str:
        """Name of the plugin that holds this handle."""
        ...

    # --- netmap and host

    async def netmap(self) -> NetmapSnapshot:
        """Everything this node sees. As large as the mesh: for start-up, not for every change."""
        ...

    async def node(self, stable_id: str) -> NodeInfo | None:
        """One peer or this node; None when it is not in the netmap."""
        ...

    async def attached_prefixes(self) -> tuple[AttachedPrefix, ...]:
        """Prefixes of the host's own interfaces, without the tunnel, loopback and link-local."""
        ...

    async def facts(self) -> HostFacts: ...

    # --- asking the core to act

    async def request_refresh(self, kind: RefreshKind, reason: str) -> None:
        """Have the named contributions asked for anew soon; several requests may end in one."""
        ...

    async def request_router_refresh(self, reason: str) -> None:
        """Short for `request_refresh(RefreshKind.ROUTER, reason)`."""
        ...

    # --- health and logs

    async def set_health(self, item: HealthItem) -> None:
        """Raise or replace the health item of that code; it stays until cleared."""
        ...

    async def clear_health(self, code: str) -> None:
        """Unknown codes are ignored."""
        ...

    async def log(self, level: LogLevel, event: str, fields: Mapping[str, JsonValue] | None = None) -> None:
        """One structured line. Never put secrets in."""
        ...

    # --- settings and store

    async def config(self) -> Mapping[str, JsonValue]:
        """The plugin's effective table: file, then runtime preferences; without `enabled`."""
        ...

    async def store_get(self, name: str) -> bytes | None: ...

    async def store_put(self, name: str, value: bytes) -> None:
        """Keep a value over restarts; atomic. Raises `StateError` (too long, disk). Writes are coalesced."""
        ...

    async def store_delete(self, name: str) -> None: ...

    # --- time

    async def now(self) -> float:
        """Monotonic seconds."""
        ...

    async def wall_now(self) -> datetime:
        """UTC; may jump."""
        ...

    async def sleep(self, seconds: float) -> None:
        """The only way to wait: tests run it on a virtual clock."""
        ...


@runtime_checkable
class Service(Protocol):
    """Long work of a plugin, made by `appliance_start`.

    `run` is cancelled to stop it. When it returns, the work is done; when it raises, it is called again after a
    back-off, and the plugin is shown as degraded until then.
    """

    @property
    def name(self) -> str:
        """Unique within the plugin."""
        ...

    async def run(self) -> None: ...
