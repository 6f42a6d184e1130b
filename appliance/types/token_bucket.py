"""A token bucket on given time: what there is no token for is refused, nothing is owed."""

from __future__ import annotations


class TokenBucket:
    """`rate` tokens a second, at most `burst` saved up; full at first."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = 0.0

    def take(self, now: float, size: float = 1.0) -> bool:
        """Whether so much more is allowed now."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._tokens < size:
            return False
        self._tokens -= size
        return True
