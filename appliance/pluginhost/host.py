"""`PluginHost`: all plugins of this process, from installed packages to running services.

The daemon makes one, calls `load`, then `start` when the engine is up, reports netmap changes and refreshes, asks
`hooks` for contributions, and calls `stop` at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any

from appliance.api.settings import setting_fields
from appliance.api.values import CommandReply, NetmapChange, Placement, PluginPanel, RefreshKind, SettingField
from appliance.pluginhost.admission import Site, admit
from appliance.pluginhost.apps.process import Limits, PluginProcess
from appliance.pluginhost.backend import HostBackend
from appliance.pluginhost.discovery import Candidate, Discovery, discover
from appliance.pluginhost.errors import PluginError
from appliance.pluginhost.faults import FaultBook
from appliance.pluginhost.handle import InlineHandle
from appliance.pluginhost.health import HealthKeeper
from appliance.pluginhost.hooks import HOOK_NAMES, Hooks
from appliance.pluginhost.imports import import_class, import_object, make_plugin
from appliance.pluginhost.manifest import Manifest
from appliance.pluginhost.migrations import migrate
from appliance.pluginhost.services import ServiceSupervisor
from appliance.pluginhost.settings import is_enabled, own_table, parse_settings, plain_settings
from appliance.pluginhost.snapshots import full_change
from appliance.ports.processes import ProcessLauncher
from appliance.types.errors import ConfigError

OWN_PACKAGE = "plugins."
PROTO_PACKAGE = "appliance.proto"
PANEL_WAIT_S = 1.0
HIDDEN = "(not shown)"
"""In place of a secret."""

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
    restarts: int = 0


@dataclass(slots=True)
class _Loaded:
    """`process` is the plugin's own where it runs in one; `config_class` is None then."""

    candidate: Candidate
    handle: InlineHandle
    config_class: type | None = None
    process: PluginProcess | None = None
    config: Any = None
    needs_full: bool = True
    """The plugin must be given the whole netmap with the next change."""


class PluginHost:
    """`discovery` None: what is installed. `site` None: this version's hooks and nothing special of the host.

    `launcher` starts the processes of plugins with placement `apps`; without it they are refused.
    """

    def __init__(
        self,
        backend: HostBackend,
        tables: Tables,
        *,
        discovery: Discovery | None = None,
        site: Site | None = None,
        hooks: Hooks | None = None,
        stop_timeout_s: float = 5.0,
        launcher: ProcessLauncher | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._backend = backend
        self._discovery = discovery if discovery is not None else discover()
        self._candidates = {candidate.name: candidate for candidate in self._discovery.candidates}
        self._tables = self._migrated(tables)
        self._site = site if site is not None else own_site(self._discovery)
        self._launcher = launcher
        self._limits = limits or Limits()
        if launcher is not None:
            self._site = replace(self._site, placements=frozenset(Placement), foreign_inline=False)
        self._faults = FaultBook(backend)
        self.hooks = hooks if hooks is not None else Hooks(self._faults)
        self._services = ServiceSupervisor(backend, self._faults, stop_timeout_s=stop_timeout_s)
        self._health = HealthKeeper(backend)
        self._loaded: dict[str, _Loaded] = {}
        self._ready: dict[str, _Loaded] = {}
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
        try:
            for name in admission.order:
                self._load_one(name)
        except ConfigError:
            for loaded in self._loaded.values():
                if loaded.process is not None:
                    loaded.process.abandon()
            raise

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
        if self._launcher is not None:
            await self._launcher.close()

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
        self._tables = self._migrated(tables)
        try:
            self._check_names()
            wanted = {name for name in self._candidates if self._enabled(name)}
            changed = [name for name in self._loaded if name in wanted and self._tables.get(name) != old.get(name)]
            configs = {name: await self._checked(self._loaded[name]) for name in changed}
            for name in wanted - set(self._loaded):
                await self._check_disabled_settings(name)
        except ConfigError:
            self._tables = old
            await self._drop_ready()
            raise
        for name in [name for name in self._loaded if name not in wanted]:
            await self._unload(name)
        for name, config in configs.items():
            self._configure(self._loaded[name], config)
        self._load_missing(wanted)
        await self._drop_ready()
        if self._launcher is not None and not any(loaded.process for loaded in self._loaded.values()):
            await self._launcher.close()  # it comes back when it is needed
        for kind in RefreshKind:
            self._backend.request_refresh(kind, "settings changed")

    # --- what people see

    async def panels(self) -> tuple[PluginPanel, ...]:
        """Panels in load order; a plugin in its own process that does not answer at once shows its last one."""
        asked = [loaded.process.refresh_panel() for loaded in self._loaded.values() if loaded.process is not None]
        if asked:
            with suppress(TimeoutError):
                async with asyncio.timeout(PANEL_WAIT_S):
                    await asyncio.gather(*asked)
        return tuple(PluginPanel(name, panel) for name, panel in self.hooks.status_panels())

    async def run_command(self, name: str, command: str, arguments: tuple[str, ...]) -> CommandReply:
        """Run one of a plugin's commands. Raises `PluginError`."""
        loaded = self._loaded.get(name)
        if loaded is None:
            raise PluginError(name, "is not running", mend="see: waypost plugins list", code="not-running")
        commands = loaded.candidate.manifest.commands
        if command not in commands:
            known = ", ".join(sorted(commands)) or "none"
            raise PluginError(name, f"has no command {command!r}", mend=f"its commands are: {known}", code="no-command")
        if loaded.process is not None:
            return await loaded.process.run_command(command, arguments)
        reply = self.hooks.run_command(name, command, arguments)
        if reply is None:
            raise PluginError(name, f"{command} failed", mend="see: waypost plugins list")
        return reply

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
        process = self._loaded[name].process
        running = "running" if process is None or process.is_live else "starting"
        state = "stalled" if record.stalled else "degraded" if record.broken else running
        problem = next(reversed(record.broken.values()), "")
        services = self._services.names(name) if process is None else process.services
        restarts = process.restarts if process is not None else 0
        counts = (record.failures, record.slow_calls, restarts)
        return PluginStatus(name, state, placement, purpose, problem, services, *counts)

    def manifest(self, name: str) -> Manifest | None:
        """None where it could not be read."""
        candidate = self._candidates.get(name)
        return candidate.manifest if candidate is not None else None

    def settings(self, name: str) -> tuple[bool, Mapping[str, Any], Mapping[str, Any]]:
        """Whether it is enabled, what its table sets, and all settings with their defaults as far as they are known."""
        if name not in self._candidates:
            return False, {}, {}
        loaded, table = self._loaded.get(name), self._table(name)
        if loaded is None:
            return self._enabled(name), self.shown(name, table), {}
        known = plain_settings(loaded.config) if loaded.process is None else loaded.process.told.settings
        return True, self.shown(name, table), self.shown(name, known)

    def shown(self, name: str, table: Mapping[str, Any]) -> dict[str, Any]:
        """A plugin's table without its secrets. A foreign plugin that does not run cannot say which those are."""
        candidate = self._candidates.get(name)
        secret: set[str] = set()
        if name in self._loaded:
            secret = {field.key for field in self.setting_fields(name) if field.secret}
        elif candidate is None or not candidate.target.startswith(OWN_PACKAGE):
            secret = {key for key, value in table.items() if not isinstance(value, bool | float | int)}
        return {key: HIDDEN if key in secret and value else value for key, value in table.items()}

    def setting_fields(self, name: str) -> tuple[SettingField, ...]:
        """A running plugin's settings as inputs of a form."""
        loaded = self._loaded.get(name)
        if loaded is None:
            return ()
        return loaded.process.told.fields if loaded.process is not None else setting_fields(loaded.config, helped=True)

    # --- one plugin

    def _load_one(self, name: str) -> bool:
        candidate = self._candidates[name]
        handle = InlineHandle(name, self._backend, lambda: self._table(name), candidate.manifest.rights)
        try:
            if candidate.manifest.placement is Placement.APPS:
                self._loaded[name] = self._load_process(candidate, handle)
            else:
                self._loaded[name] = self._load_inline(candidate, handle)
        except PluginError as error:
            self._refuse(error)
            return False
        self._refused.pop(name, None)
        self._faults.succeeded(name, "load")
        if self._loaded[name].process is None:
            self.hooks.configure(name, self._loaded[name].config)
        return True

    def _load_inline(self, candidate: Candidate, handle: InlineHandle) -> _Loaded:
        name = candidate.name
        config_class = import_class(name, candidate.manifest.config)
        config = parse_settings(name, config_class, self._table(name))
        plugin = make_plugin(name, import_object(name, candidate.target))
        self.hooks.register(name, plugin, handle, candidate.manifest.hooks)
        return _Loaded(candidate, handle, config_class, config=config)

    def _load_process(self, candidate: Candidate, handle: InlineHandle) -> _Loaded:
        ready = self._ready.pop(candidate.name, None) or self._launch(candidate, handle)
        assert ready.process is not None
        self.hooks.register_remote(candidate.name, ready.process, ready.handle, candidate.manifest.hooks)
        return ready

    def _launch(self, candidate: Candidate, handle: InlineHandle) -> _Loaded:
        assert self._launcher is not None
        name = candidate.name
        process = PluginProcess(
            candidate, handle, lambda: self._table(name), self._backend, self._faults, self._launcher, self._limits
        )
        process.launch()
        return _Loaded(candidate, handle, process=process, needs_full=False)

    def _start_one(self, name: str) -> None:
        process = self._loaded[name].process
        if process is not None:
            process.start()
            return
        services = self.hooks.start(name)
        if services:
            self._services.add(name, services)

    async def _unload(self, name: str) -> None:
        loaded = self._loaded[name]
        if loaded.process is not None:
            await loaded.process.end()
        else:
            await self._services.remove(name)
            self.hooks.stop(name)
        self.hooks.unregister(name)
        self._health.replace(name, ())
        loaded.handle.release()
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
            if self._started and self._loaded[name].process is None:
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

    def _migrated(self, tables: Tables) -> dict[str, Mapping[str, Any]]:
        """Raises `ConfigError`."""
        found: dict[str, Mapping[str, Any]] = {}
        for name, table in tables.items():
            manifest = self.manifest(name)
            known = (manifest.migrations, manifest.config_version) if manifest is not None else ((), 1)
            found[name] = migrate(name, table, *known)
        return found

    def _table(self, name: str) -> dict[str, Any]:
        return own_table(self._tables.get(name, {}))

    async def _checked(self, loaded: _Loaded) -> Any:
        """The settings that hold now, parsed where the plugin is inline. Raises `ConfigError`."""
        name = loaded.candidate.name
        if loaded.config_class is not None:
            return parse_settings(name, loaded.config_class, self._table(name))
        if loaded.process is not None:
            await loaded.process.check(self._table(name))
        return None

    def _configure(self, loaded: _Loaded, config: Any) -> None:
        if loaded.process is not None:
            loaded.process.configure()
        elif self.hooks.configure(loaded.candidate.name, config):
            loaded.config = config

    async def _check_disabled_settings(self, name: str) -> None:
        """Settings of a plugin that is about to be loaded; its refusal for other reasons comes later."""
        candidate = self._candidates[name]
        if candidate.manifest.placement is Placement.APPS:
            if self._launcher is not None:
                handle = InlineHandle(name, self._backend, lambda: self._table(name), candidate.manifest.rights)
                self._ready[name] = ready = self._launch(candidate, handle)
                assert ready.process is not None
                await ready.process.first_verdict()
            return
        with suppress(PluginError):
            parse_settings(name, import_class(name, candidate.manifest.config), self._table(name))

    async def _drop_ready(self) -> None:
        """End processes that were started to check settings and are not wanted after all."""
        for ready in [self._ready.pop(name) for name in tuple(self._ready)]:
            assert ready.process is not None
            await ready.process.end()
            self._faults.forget(ready.candidate.name)


def own_site(discovery: Discovery) -> Site:
    """What this version offers without knowledge of the host; the daemon adds features and capabilities."""
    own = frozenset(c.name for c in discovery.candidates if c.target.startswith(OWN_PACKAGE))
    return Site(hooks=HOOK_NAMES, own=own, proto=proto_packages())


def proto_packages() -> frozenset[str]:
    """Names under `appliance.proto`: what plugins that ship with Waypost may list."""
    found = find_spec(PROTO_PACKAGE)
    return frozenset(module.name for module in iter_modules(found.submodule_search_locations)) if found else frozenset()
