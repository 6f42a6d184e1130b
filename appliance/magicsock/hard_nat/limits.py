"""How often hard NATs may be tried: the attempt costs a router hundreds of mappings."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

HOUR_S = 3600.0
PER_HOUR = 3


class AttemptLimit(Generic[K]):
    """At most three an hour and peer."""

    def __init__(self) -> None:
        self._tried: dict[K, deque[float]] = {}

    def allows_from(self, peer: K, now: float) -> float:
        """When the next attempt may begin: now, or later."""
        tried = self._tried.get(peer)
        if tried is None:
            return now
        while tried and now - tried[0] >= HOUR_S:
            tried.popleft()
        if not tried:
            del self._tried[peer]
            return now
        return now if len(tried) < PER_HOUR else tried[0] + HOUR_S

    def note(self, peer: K, now: float) -> None:
        self._tried.setdefault(peer, deque(maxlen=PER_HOUR)).append(now)

    def forget(self) -> None:
        """Another network, another NAT."""
        self._tried.clear()
