"""Calls toward a plugin's process that wait for their answer, and how long they have waited."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from msgspec import Raw

from appliance.pluginhost.apps.messages import Result
from appliance.types.errors import ApplianceError, ConfigError


@dataclass(slots=True)
class _Call:
    what: str
    since: float
    limit_s: float
    future: asyncio.Future[Raw]


class PendingCalls:
    """Times are monotonic seconds."""

    def __init__(self) -> None:
        self._calls: dict[int, _Call] = {}
        self._count = 0

    def add(self, what: str, now: float, limit_s: float) -> tuple[int, asyncio.Future[Raw]]:
        self._count += 1
        future: asyncio.Future[Raw] = asyncio.get_running_loop().create_future()
        self._calls[self._count] = _Call(what, now, limit_s, future)
        return self._count, future

    def answered(self, result: Result) -> None:
        """Answers to unknown calls are ignored."""
        call = self._calls.pop(result.call, None)
        if call is None or call.future.done():
            return
        if result.text:
            call.future.set_exception(_error(result))
        else:
            call.future.set_result(result.value)

    def overdue(self, now: float) -> tuple[str, float] | None:
        """What waits longer than it may, and its limit."""
        for call in self._calls.values():
            if now - call.since > call.limit_s:
                return call.what, call.limit_s
        return None

    def forgive(self, seconds: float) -> None:
        """This process itself stood still for so long."""
        for call in self._calls.values():
            call.since += seconds

    def fail_all(self, error: ApplianceError) -> None:
        for call in self._calls.values():
            if not call.future.done():
                call.future.set_exception(error)
                call.future.exception()  # whoever gave up waiting must not make it a warning
        self._calls.clear()


def _error(result: Result) -> ApplianceError:
    if result.code == ConfigError.code:
        return ConfigError(result.text, mend=result.mend, key=result.key)
    return ApplianceError(result.text, mend=result.mend, code=result.code or "plugin")
