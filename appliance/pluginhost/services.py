"""Runs plugins' services: restarted with a back-off when they raise, stopped within a time-out.

Not a task group: a service that refuses to end must not hold the process, and one that fails must not end the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from appliance.api.host import Service
from appliance.api.values import JsonValue, LogLevel
from appliance.pluginhost.errors import PluginError
from appliance.ports.clock import Clock
from appliance.ports.randomness import Randomness

FIRST_BACKOFF_S = 1.0
LAST_BACKOFF_S = 60.0
STEADY_S = 300.0
"""A service that lived this long starts again with the first back-off."""
MENDED_S = 10.0
"""A restarted service counts as mended after this time."""


class ServiceSite(Protocol):
    """What the supervisor needs of the process around it."""

    @property
    def clock(self) -> Clock: ...

    @property
    def randomness(self) -> Randomness: ...

    async def sleep(self, seconds: float) -> None: ...

    def log(self, source: str, level: LogLevel, event: str, fields: Mapping[str, JsonValue]) -> None: ...


class FaultSink(Protocol):
    """Who keeps account of failures."""

    def failed(self, plugin: str, where: str, error: BaseException) -> None: ...

    def succeeded(self, plugin: str, where: str) -> None: ...


def backoff_s(failures: int, randomness: Randomness) -> float:
    """Seconds before the next start after `failures` in a row; jittered."""
    step = min(FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 30), LAST_BACKOFF_S)
    return step * randomness.uniform(0.5, 1.5)


class ServiceSupervisor:
    """Services can be added and removed at any time; `stop_timeout_s` bounds each removal."""

    def __init__(self, backend: ServiceSite, faults: FaultSink, *, stop_timeout_s: float = 5.0) -> None:
        self._backend = backend
        self._faults = faults
        self._stop_timeout_s = stop_timeout_s
        self._tasks: dict[str, dict[str, asyncio.Task[None]]] = {}
        self.restarts = 0

    def add(self, plugin: str, services: Sequence[Service]) -> None:
        """Start them. A service whose name is taken within its plugin is refused by a health item."""
        tasks = self._tasks.setdefault(plugin, {})
        loop = asyncio.get_running_loop()
        for service in services:
            if service.name in tasks:
                error = PluginError(plugin, f"has two services named {service.name}")
                self._faults.failed(plugin, f"service {service.name}", error)
                continue
            task = loop.create_task(self._supervise(plugin, service), name=f"plugin {plugin}: {service.name}")
            tasks[service.name] = task

    async def remove(self, plugin: str) -> None:
        """Cancel the plugin's services and wait for their end; one that does not end is logged and left behind."""
        tasks = self._tasks.pop(plugin, {})
        if not tasks:
            return
        for task in tasks.values():
            task.cancel()
        _, stuck = await asyncio.wait(tasks.values(), timeout=self._stop_timeout_s)
        for name, task in tasks.items():
            if task in stuck:
                fields: dict[str, JsonValue] = {"service": name, "seconds": self._stop_timeout_s}
                self._backend.log(plugin, LogLevel.ERROR, "plugin_service_does_not_stop", fields)

    def names(self, plugin: str) -> tuple[str, ...]:
        """Services of the plugin that run or wait for their restart."""
        return tuple(name for name, task in self._tasks.get(plugin, {}).items() if not task.done())

    async def _supervise(self, plugin: str, service: Service) -> None:
        where = f"service {service.name}"
        failures = 0
        while True:
            started = self._backend.clock.now()
            error = await self._run_once(plugin, service, where)
            if error is None:
                self._faults.succeeded(plugin, where)
                return
            failures = 1 if self._backend.clock.now() - started >= STEADY_S else failures + 1
            self._faults.failed(plugin, where, error)
            self.restarts += 1
            await self._backend.sleep(backoff_s(failures, self._backend.randomness))

    async def _run_once(self, plugin: str, service: Service, where: str) -> BaseException | None:
        """None when the service ended by itself; our own cancellation passes through."""
        mender = asyncio.get_running_loop().create_task(self._mend_later(plugin, where))
        try:
            await service.run()
        except (Exception, SystemExit) as error:  # the supervisor: whatever a plugin raises ends here
            return error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return error  # not ours: the service cancelled itself
        finally:
            mender.cancel()
        return None

    async def _mend_later(self, plugin: str, where: str) -> None:
        await self._backend.sleep(MENDED_S)
        self._faults.succeeded(plugin, where)
