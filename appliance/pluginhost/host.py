"""`PluginHost`: all plugins of this process, from installed packages to running services.

The daemon makes one, calls `load`, then `start` when the engine is up, reports netmap changes and refreshes, asks
`hooks` for contributions, and calls `stop` at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from appliance.api.values import API_VERSION, NetmapChange, Placement, PluginPanel, RefreshKind
from appliance.pluginhost.admission import Site, admit
from appliance.pluginhost.backend import HostBackend
from appliance.pluginhost.discovery import Candidate, Discovery, discover
from appliance.pluginhost.errors import PluginError, PluginRefused
from appliance.pluginhost.faults import FaultBook
from appliance.pluginhost.handle import InlineHandle
from appliance.pluginhost.health import HealthKeeper
from appliance.pluginhost.hooks import HOOK_NAMES, Hooks
from appliance.pluginhost.services import ServiceSupervisor
from appliance.pluginhost.settings import is_enabled, own_table, parse_settings
from appliance.pluginhost.snapshots import full_change
from appliance.types.errors import ConfigError

OWN_PACKAGE = "plugins."

Tables = Mapping[str, Mapping[str, Any]]
"""Effective settings by plugin name: `[plugins.<name>]` of waypost.toml with runtime preferences laid over it."""


@dataclass(frozen=True, slots=True)
class PluginStatus:
    """One installed plugin. `state`: running, degraded, stalled, disabled or refused; `problem` is one line."""

    name: str
    state: str
    placement: Placement = Placement.INLINE
    purpose: str = ""
    problem: str = ""
    services: tuple[str, ...] = ()
    failures: int = 0
    slow_calls: int = 0


@dataclass(slots=True)
class _Loaded:
    candidate: Candidate
    handle: InlineHandle
    config_class: type
    needs_full: bool = True
    """The plugin must be given the whole netmap with the next change."""


class PluginHost:
    """`discovery` None: what is installed. `site` None: this version's hooks and nothing special of the host."""

    def __init__(
        self,
        backend: HostBackend,
        tables: Tables,
        *,
        discovery: Discovery | None = None,
        site: Site | None = None,
        hooks: Hooks | None = None,
        stop_timeout_s: float = 5.0,
    ) -> None:
        self._backend = backend
        self._tables: dict[str, Mapping[str, Any]] = {name: dict(table) for name, table in tables.items()}
        self._discovery = discovery if discovery is not None else discover()
        self._candidates = {candidate.name: candidate for candidate in self._discovery.candidates}
        self._site = site if site is not None else own_site(self._discovery)
        self._faults = FaultBook(backend)
        self.hooks = hooks if hooks is not None else Hooks(self._faults)
        self._services = ServiceSupervisor(backend, self._faults, stop_timeout_s=stop_timeout_s)
        self._health = HealthKeeper(backend)
        self._loaded: dict[str, _Loaded] = {}
        self._refused: dict[str, PluginError] = {error.plugin: error for error in self._discovery.refused}
        self._started = False

    # --- life

    def load(self) -> None:
        """Import, register and configure every enabled plugin that fits.

        A plugin that does not fit is refused by a health item. A wrong setting raises `ConfigError`, because a
        configuration is valid as a whole or not at all.
        """
        self._check_names()
        wanted = [c.manifest for name, c in self._candidates.items() if self._enabled(name)]
        admission = admit(wanted, self._site)
        for error in (*self._discovery.refused, *admission.refused):
            self._refuse(error)
        for name in admission.order:
            self._load_one(name)

    def start(self) -> None:
        """Run the services. The engine is up, the first netmap is still to come."""
        self._started = True
        for name in tuple(self._loaded):
            self._start_one(name)

    async def stop(self) -> None:
        """End services, then plugins, in reverse order."""
        self._started = False
        for name in reversed(tuple(self._loaded)):
            await self._unload(name)

    # --- changes

    def netmap_changed(self, change: NetmapChange) -> None:
        """Pass a change on. Cost follows the change; only a plugin that missed one gets the whole netmap."""
        whole: NetmapChange | None = change if change.full else None
        for name, loaded in self._loaded.items():
            if loaded.needs_full and whole is None:
                whole = full_change(self._backend.netmap())
            given = whole if loaded.needs_full and whole is not None else change
            loaded.needs_full = not self.hooks.netmap_changed(name, given)

    def refresh_health(self) -> None:
        """Ask the health checks; the daemon calls this after netmap changes, status refreshes and once a minute."""
        for name, items in self.hooks.check_health(self._backend.facts()).items():
            self._health.replace(name, items)

    async def apply_tables(self, tables: Tables) -> None:
        """Take new settings over: all are checked before any is applied. Raises `ConfigError`, and nothing changed."""
        old = self._tables
        self._tables = {name: dict(table) for name, table in tables.items()}
        try:
            self._check_names()
            wanted = {name for name in self._candidates if self._enabled(name)}
            configs = {
                name: parse_settings(name, loaded.config_class, self._tables.get(name, {}))
                for name, loaded in self._loaded.items()
                if name in wanted and self._tables.get(name) != old.get(name)
            }
            for name in wanted - set(self._loaded):
                self._check_disabled_settings(name)
        except ConfigError:
            self._tables = old
            raise
        for name in [name for name in self._loaded if name not in wanted]:
            await self._unload(name)
        for name, config in configs.items():
            self.hooks.configure(name, config)
        self._load_missing(wanted)
        for kind in RefreshKind:
            self._backend.request_refresh(kind, "settings changed")

    # --- what people see

    def panels(self) -> tuple[PluginPanel, ...]:
        """Panels in load order."""
        return tuple(PluginPanel(name, panel) for name, panel in self.hooks.status_panels())

    def statuses(self) -> tuple[PluginStatus, ...]:
        """Every installed plugin by name."""
        names = sorted({*self._candidates, *self._refused})
        return tuple(self._status(name) for name in names)

    def _status(self, name: str) -> PluginStatus:
        candidate = self._candidates.get(name)
        placement = candidate.manifest.placement if candidate is not None else Placement.INLINE
        purpose = candidate.manifest.purpose if candidate is not None else ""
        if name in self._refused:
            return PluginStatus(name, "refused", placement, purpose, self._refused[name].line())
        if name not in self._loaded:
            return PluginStatus(name, "disabled", placement, purpose)
        record = self._faults.record(name)
        state = "stalled" if record.stalled else "degraded" if record.broken else "running"
        problem = next(reversed(record.broken.values()), "")
        services = self._services.names(name)
        return PluginStatus(name, state, placement, purpose, problem, services, record.failures, record.slow_calls)

    # --- one plugin

    def _load_one(self, name: str) -> bool:
        candidate = self._candidates[name]
        try:
            config_class = _import_object(name, candidate.manifest.config)
        except PluginError as error:
            self._refuse(error)
            return False
        if not isinstance(config_class, type):
            self._refuse(PluginRefused(name, f"{candidate.manifest.config} is not a class"))
            return False
        config = parse_settings(name, config_class, self._tables.get(name, {}))
        rights = candidate.manifest.rights
        handle = InlineHandle(name, self._backend, lambda: own_table(self._tables.get(name, {})), rights)
        try:
            plugin = _make(name, _import_object(name, candidate.target))
            self.hooks.register(name, plugin, handle, candidate.manifest.hooks)
        except PluginError as error:
            self._refuse(error)
            return False
        self._loaded[name] = _Loaded(candidate, handle, config_class)
        self._refused.pop(name, None)
        self.hooks.configure(name, config)
        return True

    def _start_one(self, name: str) -> None:
        services = self.hooks.start(name)
        if services:
            self._services.add(name, services)

    async def _unload(self, name: str) -> None:
        await self._services.remove(name)
        self.hooks.stop(name)
        self.hooks.unregister(name)
        self._health.replace(name, ())
        self._faults.forget(name)
        self._backend.released(name)
        del self._loaded[name]

    def _load_missing(self, wanted: set[str]) -> None:
        """Load what is enabled now, in order, as far as it fits beside what runs."""
        admission = admit([self._candidates[name].manifest for name in wanted], self._site)
        for error in admission.refused:
            if error.plugin not in self._loaded:
                self._refuse(error)
        for name in admission.order:
            if name in self._loaded or not self._load_one(name):
                continue
            if self._started:
                self._start_one(name)
                self._loaded[name].needs_full = not self.hooks.netmap_changed(name, full_change(self._backend.netmap()))

    def _refuse(self, error: PluginError) -> None:
        self._refused[error.plugin] = error
        self._faults.failed(error.plugin, "load", error)

    # --- settings

    def _enabled(self, name: str) -> bool:
        return is_enabled(name, self._tables.get(name, {}), self._candidates[name].manifest.enabled)

    def _check_names(self) -> None:
        for name in self._tables:
            if name not in self._candidates and name not in self._refused:
                installed = ", ".join(sorted(self._candidates)) or "none"
                raise ConfigError(f"plugins.{name}: no such plugin is installed", mend=f"installed are: {installed}")

    def _check_disabled_settings(self, name: str) -> None:
        """Settings of a plugin that is about to be loaded; its refusal for other reasons comes later."""
        try:
            config_class = _import_object(name, self._candidates[name].manifest.config)
        except PluginError:
            return
        if isinstance(config_class, type):
            parse_settings(name, config_class, self._tables.get(name, {}))


def own_site(discovery: Discovery) -> Site:
    """What this version offers without knowledge of the host; the daemon adds features and capabilities."""
    own = frozenset(c.name for c in discovery.candidates if c.target.startswith(OWN_PACKAGE))
    return Site(hooks=HOOK_NAMES, own=own)


def _import_object(name: str, target: str) -> Any:
    """Import "module:Name" of a plugin. Raises `PluginRefused`, whatever the plugin's code raises."""
    module, _, attribute = target.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (Exception, SystemExit) as error:  # foreign code at import may raise anything
        text = f"{target} cannot be imported: {type(error).__name__}: {error}"
        raise PluginRefused(name, text, mend=f"reinstall it; it must fit plugin API {API_VERSION}") from error


def _make(name: str, plugin_class: Any) -> object:
    try:
        return plugin_class()
    except (Exception, SystemExit) as error:  # foreign code
        raise PluginRefused(name, f"cannot be made: {type(error).__name__}: {error}") from error
