"""Time. `now` is monotonic seconds, `wall_now` UTC; nothing below the edges reads a clock of its own."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Monotonic seconds since an arbitrary start; counts suspend time too (CLOCK_BOOTTIME)."""
        ...

    def wall_now(self) -> datetime:
        """UTC; may jump."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall_now(self) -> datetime:
        return datetime.now(UTC)


class VirtualClock:
    """The twin: stands still until told."""

    def __init__(self, now: float = 1000.0, wall: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = now
        self._wall = wall

    def now(self) -> float:
        return self._now

    def wall_now(self) -> datetime:
        return self._wall

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks; `seconds` >= 0."""
        if seconds < 0:
            raise ValueError("time does not run backwards; use jump_wall for that")
        self._now += seconds
        self._wall += timedelta(seconds=seconds)

    def jump_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back without letting time pass."""
        self._wall += timedelta(seconds=seconds)
