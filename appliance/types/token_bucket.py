"""A token bucket on given time: what there is no token for is refused, nothing is owed."""

from __future__ import annotations


class TokenBucket:
    """`rate` tokens a second, at most `burst` saved up, which is what it starts with. `at`: when it was last asked."""

    __slots__ = ("_burst", "_rate", "_tokens", "at")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self.at = 0.0

    def take(self, now: float, size: float = 1.0) -> bool:
        """Take `size` tokens if that many are there now; none otherwise."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self.at) * self._rate)
        self.at = now
        if size > self._tokens:
            return False
        self._tokens -= size
        return True
