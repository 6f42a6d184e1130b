"""The typed facade over the hooks: one method per spec. Nothing else touches the plugin manager.

A hook that raises, stalls or returns nonsense costs its plugin a health item and nobody else anything. Contributions
fall back to the plugin's last good one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import pluggy

from appliance.api import hookspecs
from appliance.api.host import HostHandle, Service
from appliance.api.offered import OfferedRoutes
from appliance.api.values import (
    AttachedPrefix,
    CommandReply,
    FirewallPart,
    HealthItem,
    HostFacts,
    HostinfoPart,
    Metric,
    NetmapChange,
    Panel,
    RelayOffer,
    RelayRequest,
    RouteSelection,
)
from appliance.pluginhost.errors import BadHookResult, PluginError, PluginRefused, PluginStalled
from appliance.pluginhost.faults import SLOW_S, FaultBook
from appliance.pluginhost.merging import (
    check_firewall,
    merge_firewall,
    merge_hostinfo,
    merge_metrics,
    merge_routes,
)
from appliance.pluginhost.selections import SelectionMerger
from appliance.pluginhost.services import FaultSink
from appliance.pluginhost.stall import Stalled, StallGuard
from appliance.types.editions import Edition

T = TypeVar("T")

HOOK_NAMES = frozenset(name for name in vars(hookspecs) if name.startswith(hookspecs.HOOK_PREFIX))


@dataclass(frozen=True, slots=True)
class _Result(Generic[T]):
    """`ok`: the hook ran and returned what it may (None where it is not implemented)."""

    ok: bool
    value: T | None


class RemotePlugin(Protocol):
    """A plugin of another process: answers at once with what it said last."""

    def answer(self, hook: str, arguments: dict[str, Any]) -> Any:
        """Raises `PluginError` when its last call failed."""
        ...


class Hooks:
    """Register plugins in start order, then call. Synchronous; a plugin's error is never raised, but by `invoke`.

    `faults` may be a mere sink in a process that only uses `invoke`.
    """

    def __init__(self, faults: FaultBook | FaultSink, guard: StallGuard | None = None) -> None:
        self._book = faults
        self._remotes: dict[str, tuple[RemotePlugin, frozenset[str]]] = {}
        self._guard = guard or StallGuard()
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._handles: dict[str, HostHandle] = {}
        self._order: list[str] = []
        self._last_good: dict[tuple[str, str], Any] = {}
        self._selections = SelectionMerger()

    # --- registration

    def register(self, name: str, plugin: object, handle: HostHandle, declared: Iterable[str]) -> None:
        """Raises `PluginRefused` when the object's hooks are not exactly the declared ones."""
        try:
            self._manager.register(plugin, name)
            self._manager.check_pending()
        except (ValueError, pluggy.PluginValidationError) as error:
            self._withdraw(name)
            raise PluginRefused(name, f"does not fit the hook specs: {error}") from None
        found = {caller.name for caller in self._manager.get_hookcallers(plugin) or ()}
        difference = sorted(found ^ set(declared))
        if difference:
            self._withdraw(name)
            which = "does not implement" if difference[0] not in found else "implements, but does not declare,"
            raise PluginRefused(name, f"its class {which} {difference[0]}", mend="correct 'hooks' in manifest.toml")
        self._handles[name] = handle
        self._order.append(name)

    def register_remote(self, name: str, plugin: RemotePlugin, handle: HostHandle, declared: Iterable[str]) -> None:
        """A plugin of another process, which has checked its class there."""
        self._remotes[name] = (plugin, frozenset(declared))
        self._handles[name] = handle
        self._order.append(name)

    @property
    def _faults(self) -> FaultBook:
        assert isinstance(self._book, FaultBook)
        return self._book

    def unregister(self, name: str) -> None:
        self._remotes.pop(name, None)
        if name in self._handles:
            del self._handles[name]
            self._order.remove(name)
            self._withdraw(name)
        for key in [key for key in self._last_good if key[0] == name]:
            del self._last_good[key]

    def _withdraw(self, name: str) -> None:
        if self._manager.has_plugin(name):
            self._manager.unregister(name=name)

    @property
    def registered(self) -> tuple[str, ...]:
        return tuple(self._order)

    # --- one method per spec

    def configure(self, name: str, config: object) -> bool:
        """Whether the plugin took the settings."""
        return self._call(name, "appliance_configure", _nothing, config=config).ok

    def start(self, name: str) -> tuple[Service, ...] | None:
        """The plugin's services; None when the hook failed."""
        result = self._call(name, "appliance_start", _sequence_of(Service))  # type: ignore[type-abstract]  # checked at run time
        return tuple(result.value or ()) if result.ok else None

    def netmap_changed(self, name: str, change: NetmapChange) -> bool:
        """Whether the plugin took the change."""
        return self._call(name, "appliance_netmap_changed", _nothing, change=change).ok

    def contribute_hostinfo(self) -> HostinfoPart:
        return merge_hostinfo(self._contributions("appliance_contribute_hostinfo", _one(HostinfoPart)), self._faults)

    def contribute_routes(self) -> tuple[str, ...]:
        """Advertised routes of all plugins, sorted by family and address."""
        return merge_routes(self._contributions("appliance_contribute_routes", _sequence_of(str)), self._faults)

    def accept_routes(self, offered: OfferedRoutes, attached: tuple[AttachedPrefix, ...]) -> RouteSelection:
        """What to install of the peers' routes."""
        found = self._contributions("appliance_accept_routes", _selection, offered=offered, attached=attached)
        return self._selections.merge(found, offered, self._faults)

    def contribute_firewall(self) -> FirewallPart:
        return merge_firewall(self._contributions("appliance_contribute_firewall", _firewall), self._faults)

    def relay_request(self, request: RelayRequest) -> RelayOffer | None:
        """The first offer. Plugins of other processes are not asked: their answer would be that of another request."""
        for name in self._implementers("appliance_relay_request"):
            if name in self._remotes:
                continue
            offer = self._call(name, "appliance_relay_request", _one(RelayOffer), request=request).value
            if offer is not None:
                return offer
        return None

    def check_health(self, facts: HostFacts) -> dict[str, tuple[HealthItem, ...]]:
        """Items of each plugin that answered; plugins that failed are missing and keep theirs."""
        found: dict[str, tuple[HealthItem, ...]] = {}
        for name in self._implementers("appliance_check_health"):
            result = self._call(name, "appliance_check_health", _sequence_of(HealthItem), facts=facts)
            if result.ok:
                found[name] = tuple(result.value or ())
        return found

    def status_panels(self) -> tuple[tuple[str, Panel], ...]:
        """(plugin, panel) in load order."""
        panels: list[tuple[str, Panel]] = []
        for name in self._implementers("appliance_status_panel"):
            result = self._call(name, "appliance_status_panel", _one(Panel))
            if not result.ok:
                panels.append((name, Panel(name, rows=())))
            elif result.value is not None:
                panels.append((name, result.value))
        return tuple(panels)

    def metrics(self) -> tuple[Metric, ...]:
        found: list[tuple[str, Sequence[Metric]]] = []
        for name in self._implementers("appliance_metrics"):
            result = self._call(name, "appliance_metrics", _sequence_of(Metric))
            if result.ok and result.value:
                found.append((name, result.value))
        return merge_metrics(found)

    def run_command(self, name: str, command: str, arguments: tuple[str, ...]) -> CommandReply | None:
        """None when the hook failed or the plugin has none."""
        given: dict[str, Any] = {"command": command, "arguments": arguments}
        return self._call(name, "appliance_run_command", _one(CommandReply), **given).value

    def stop(self, name: str) -> None:
        self._call(name, "appliance_stop", _nothing)

    # --- calling

    def _implementers(self, hook: str) -> Iterator[str]:
        implementing = {impl.plugin_name for impl in getattr(self._manager.hook, hook).get_hookimpls()}
        implementing |= {name for name, (_, declared) in self._remotes.items() if hook in declared}
        return (name for name in tuple(self._order) if name in implementing)

    def _contributions(self, hook: str, check: Callable[[Any], T], **arguments: Any) -> list[tuple[str, T]]:
        found: list[tuple[str, T]] = []
        for name in self._implementers(hook):
            result = self._call(name, hook, check, **arguments)
            if result.ok:
                self._last_good[name, hook] = result.value
            value = self._last_good.get((name, hook))
            if value is not None:
                found.append((name, value))
        return found

    def invoke(self, name: str, hook: str, arguments: dict[str, Any]) -> Any:
        """One hook of one plugin, its result checked. Raises `PluginError`; None where it is not implemented."""
        implementation = self._implementation(name, hook)
        if implementation is None:
            return None
        given = {"host": self._handles[name], **arguments}
        try:
            return RESULT_CHECKS[hook](implementation.function(*(given[taken] for taken in implementation.argnames)))
        except TypeError as error:
            raise BadHookResult(name, f"{hook}: {error}") from error
        except (Exception, SystemExit) as error:  # the supervisor: whatever a plugin raises ends here
            raise PluginError(name, f"failed in {hook}: {type(error).__name__}: {error}") from error

    def _call(self, name: str, hook: str, check: Callable[[Any], T], **arguments: Any) -> _Result[T]:
        if name in self._remotes:
            return self._call_remote(name, hook, arguments)
        implementation = self._implementation(name, hook)
        if implementation is None:
            return _Result(True, None)
        if self._faults.is_stalled(name):
            return _Result(False, None)
        given = {"host": self._handles[name], **arguments}
        try:
            raw = self._guard.call(implementation.function, *(given[taken] for taken in implementation.argnames))
            value = check(raw)
        except Stalled:
            error = PluginStalled(name, f"did not return from {hook} within {self._guard.limit_s:g} s")
            self._faults.stalled(name, hook, error)
            return _Result(False, None)
        except TypeError as error:
            self._faults.failed(name, hook, BadHookResult(name, f"{hook}: {error}"))
            return _Result(False, None)
        except (Exception, SystemExit) as error:  # the supervisor: whatever a plugin raises ends here
            self._faults.failed(name, hook, error)
            return _Result(False, None)
        if self._guard.last_s > SLOW_S:
            self._faults.slow(name, hook, self._guard.last_s)
        self._faults.succeeded(name, hook)
        return _Result(True, value)

    def _call_remote(self, name: str, hook: str, arguments: dict[str, Any]) -> _Result[Any]:
        plugin, declared = self._remotes[name]
        if hook not in declared:
            return _Result(True, None)
        try:
            value = plugin.answer(hook, arguments)
        except PluginError as error:
            self._faults.failed(name, hook, error)
            return _Result(False, None)
        self._faults.succeeded(name, hook)
        return _Result(True, value)

    def _implementation(self, name: str, hook: str) -> pluggy.HookImpl | None:
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            if implementation.plugin_name == name:
                return implementation  # type: ignore[no-any-return]  # get_hookimpls is reached by a computed name
        return None


def _nothing(value: object) -> None:
    if value is not None:
        raise TypeError(f"must return nothing, returned {type(value).__name__}")


def _one(kind: type[T]) -> Callable[[Any], T | None]:
    def check(value: Any) -> T | None:
        if value is not None and not isinstance(value, kind):
            raise TypeError(f"must return {kind.__name__} or None, returned {type(value).__name__}")
        return value

    return check


def _firewall(value: Any) -> FirewallPart | None:
    part = _one(FirewallPart)(value)
    if part is not None:
        check_firewall(part)
    return part


def _selection(value: Any) -> RouteSelection | None:
    selection = _one(RouteSelection)(value)
    if selection is not None and not isinstance(selection.verdicts, Edition):
        for text in (*selection.verdicts, *selection.verdicts.values()):
            if not isinstance(text, str):
                raise TypeError(f"must judge prefixes by text, has a {type(text).__name__} among the verdicts")
    return selection


def _sequence_of(kind: type[T]) -> Callable[[Any], Sequence[T]]:
    def check(value: Any) -> Sequence[T]:
        if value is None:
            return ()
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise TypeError(f"must return a sequence of {kind.__name__}, returned {type(value).__name__}")
        for each in value:
            if not isinstance(each, kind):
                raise TypeError(f"must return only {kind.__name__}, returned a {type(each).__name__} in it")
        return tuple(value)

    return check


RESULT_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "appliance_configure": _nothing,
    "appliance_start": _sequence_of(Service),
    "appliance_netmap_changed": _nothing,
    "appliance_contribute_hostinfo": _one(HostinfoPart),
    "appliance_contribute_routes": _sequence_of(str),
    "appliance_accept_routes": _selection,
    "appliance_contribute_firewall": _firewall,
    "appliance_relay_request": _one(RelayOffer),
    "appliance_check_health": _sequence_of(HealthItem),
    "appliance_status_panel": _one(Panel),
    "appliance_metrics": _sequence_of(Metric),
    "appliance_run_command": _one(CommandReply),
    "appliance_stop": _nothing,
}
"""What each hook may return."""
