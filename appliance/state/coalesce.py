"""Writes that can wait: at most one a minute, in a worker thread, so that SD cards live long (design row 16).

Identity (keys, preferences) is never written through this: it is durable before anybody relies on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from appliance.ports.clock import Clock
from appliance.types.errors import StateError

INTERVAL_S = 60.0
SOON_S = 5.0


class CoalescedWriter:
    """Runs `write` when something was marked changed and the last write is `interval_s` or more ago.

    What is marked `soon` waits for `SOON_S` only: for news that are rare and that a crash should not lose.
    """

    def __init__(
        self,
        write: Callable[[], None],
        clock: Clock,
        *,
        interval_s: float = INTERVAL_S,
        on_error: Callable[[StateError], None] | None = None,
    ) -> None:
        self._write = write
        self._clock = clock
        self._interval_s = interval_s
        self._on_error = on_error
        self._changed = self._soon = False
        self._written_at: float | None = None

    def mark(self, *, soon: bool = False) -> None:
        """Something changed."""
        self._changed = True
        self._soon = self._soon or soon

    @property
    def due(self) -> bool:
        pause_s = SOON_S if self._soon else self._interval_s
        rested = self._written_at is None or self._clock.now() - self._written_at >= pause_s
        return self._changed and rested

    async def poll(self) -> bool:
        """Write if due; called about once a second. Returns whether it wrote."""
        return await self.flush() if self.due else False

    async def flush(self) -> bool:
        """Write now if something changed (at the end of the process)."""
        if not self._changed:
            return False
        self._changed = self._soon = False
        self._written_at = self._clock.now()
        try:
            await asyncio.to_thread(self._write)
        except StateError as error:
            self._changed = True
            if self._on_error is None:
                raise
            self._on_error(error)
            return False
        return True
