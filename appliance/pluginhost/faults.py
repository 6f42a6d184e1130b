"""Keeps account of plugin failures and shows them as health items of the plugin host itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from appliance.api.values import HealthItem, JsonValue, LogLevel
from appliance.pluginhost.backend import HostBackend
from appliance.pluginhost.errors import PluginError
from appliance.types.errors import ApplianceError, Severity

SOURCE = "plugins"
"""Source of the plugin host's own health items."""
SLOW_S = 0.05
"""A hook that takes longer is counted as slow: it held up the core's loop (design.md 6: 50 ms)."""


@dataclass
class FaultRecord:
    """One plugin's failures. `broken` maps where (hook or service) to the last error's line."""

    broken: dict[str, str] = field(default_factory=dict)
    failures: int = 0
    slow_calls: int = 0
    stalled: bool = False


class FaultBook:
    """A plugin is degraded while one of its hooks or services is broken; the next success there mends it."""

    def __init__(self, backend: HostBackend) -> None:
        self._backend = backend
        self._records: dict[str, FaultRecord] = {}

    def record(self, plugin: str) -> FaultRecord:
        return self._records.setdefault(plugin, FaultRecord())

    def is_stalled(self, plugin: str) -> bool:
        return self.record(plugin).stalled

    def failed(self, plugin: str, where: str, error: BaseException) -> None:
        record = self.record(plugin)
        line = error.line() if isinstance(error, ApplianceError) else f"{type(error).__name__}: {error}"
        record.failures += 1
        if record.broken.get(where) == line:
            return  # said already
        self._backend.log(plugin, LogLevel.ERROR, "plugin_failed", {"where": where, "error": line})
        record.broken[where] = line
        self._show(plugin)

    def stalled(self, plugin: str, where: str, error: PluginError) -> None:
        """Its hooks are not called any more until it is enabled again."""
        self.record(plugin).stalled = True
        self.failed(plugin, where, error)

    def slow(self, plugin: str, where: str, seconds: float) -> None:
        record = self.record(plugin)
        record.slow_calls += 1
        if record.slow_calls == 1:
            fields: dict[str, JsonValue] = {"where": where, "seconds": round(seconds, 3)}
            self._backend.log(plugin, LogLevel.WARNING, "plugin_slow", fields)

    def succeeded(self, plugin: str, where: str) -> None:
        record = self._records.get(plugin)
        if record is not None and record.broken.pop(where, None) is not None:
            self._show(plugin)

    def forget(self, plugin: str) -> None:
        """The plugin is disabled or loaded anew."""
        self._records.pop(plugin, None)
        self._backend.clear_health(SOURCE, health_code(plugin))

    def conflicts(self, kind: str, found: Sequence[tuple[str, str, str]]) -> None:
        """All conflicts over things of one kind: (thing, plugin that has it, plugin that wants it too)."""
        now = {(second, f"conflict over {kind} {thing}"): first for thing, first, second in found}
        for plugin, record in self._records.items():
            for where in [each for each in record.broken if each.startswith(f"conflict over {kind} ")]:
                if (plugin, where) not in now:
                    self.succeeded(plugin, where)
        for (second, where), first in now.items():
            thing = where.removeprefix("conflict over ")
            self.failed(second, where, PluginError(second, f"wants {thing}, which plugin {first} has"))

    def _show(self, plugin: str) -> None:
        record = self.record(plugin)
        if not record.broken:
            self._backend.clear_health(SOURCE, health_code(plugin))
            return
        where, line = next(reversed(record.broken.items()))
        text = line if line.startswith(f"plugin {plugin}") else f"plugin {plugin} failed in {where}: {line}"
        mend = f"disable it with [plugins.{plugin}] enabled = false, or see the log"
        severity = Severity.HIGH if record.stalled else Severity.MEDIUM
        self._backend.set_health(SOURCE, HealthItem(health_code(plugin), text, mend, severity))


def health_code(plugin: str) -> str:
    return f"plugin-{plugin.replace('_', '-')}"
