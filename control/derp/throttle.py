"""Rate limits by token buckets; what is over the limit waits, nothing is dropped (derp spec 3.10)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

LEAST_BURST_BYTES = 65_568
"""A whole frame always fits."""


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_s` 0 = no limit."""

    per_s: int = 0
    burst: int = 0


NO_LIMIT = Rate()


def byte_rate(per_s: int, burst: int = 0) -> Rate:
    """A rate of bytes whose burst lets every frame through."""
    return Rate(per_s, max(burst, LEAST_BURST_BYTES)) if per_s else NO_LIMIT


class Bucket:
    """`rate` may be changed while it is in use. Times are monotonic seconds."""

    __slots__ = ("_at", "_level", "rate")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._level = float(rate.burst)
        self._at = 0.0

    def take(self, size: int, now: float) -> float:
        """Take `size` tokens; the seconds to wait until they were there."""
        rate = self.rate
        if not rate.per_s:
            return 0.0
        self._level = min(float(rate.burst), self._level + max(0.0, now - self._at) * rate.per_s) - size
        self._at = now
        return max(0.0, -self._level / rate.per_s)


class Throttle:
    """One client's own limit, asked for anew each time because operators change it, and the one for all together."""

    __slots__ = ("_limit", "_own", "_total")

    def __init__(self, limit: Callable[[], Rate], total: Bucket) -> None:
        self._limit = limit
        self._own = Bucket(limit())
        self._total = total

    def take(self, size: int, now: float) -> float:
        """Seconds for which the client is not read on."""
        self._own.rate = self._limit()
        return max(self._own.take(size, now), self._total.take(size, now))
