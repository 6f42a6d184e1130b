"""A timer heap: one deadline per owner, cost O(log n) whatever the number of owners."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Schedule(Generic[K]):
    """The heap holds at most one useful entry per owner: a deadline that moves back is re-queued when it comes up."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, K]] = []
        self._wanted: dict[K, float] = {}
        self._queued: dict[K, float] = {}
        self._count = 0

    def set(self, owner: K, deadline: float | None) -> None:
        """The owner's next deadline, monotonic seconds; None = none."""
        if deadline is None:
            self._wanted.pop(owner, None)
            return
        self._wanted[owner] = deadline
        queued = self._queued.get(owner)
        if queued is None or deadline < queued:
            self._push(owner, deadline)

    def _push(self, owner: K, deadline: float) -> None:
        self._count += 1
        self._queued[owner] = deadline
        heapq.heappush(self._heap, (deadline, self._count, owner))

    def _settle(self) -> None:
        """Leave at the top only an entry whose deadline is still wanted."""
        while self._heap:
            deadline, _, owner = self._heap[0]
            if self._queued.get(owner) != deadline:
                heapq.heappop(self._heap)
                continue
            wanted = self._wanted.get(owner)
            if wanted == deadline:
                return
            heapq.heappop(self._heap)
            del self._queued[owner]
            if wanted is not None:
                self._push(owner, wanted)

    def next_deadline(self) -> float | None:
        self._settle()
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> K | None:
        """An owner whose deadline has come, None when there is none; its deadline is gone afterwards."""
        self._settle()
        if not self._heap or self._heap[0][0] > now:
            return None
        _, _, owner = heapq.heappop(self._heap)
        del self._queued[owner]
        del self._wanted[owner]
        return owner

    def owners(self) -> tuple[K, ...]:
        """All that have a deadline."""
        return tuple(self._wanted)

    def __len__(self) -> int:
        """Owners with a deadline."""
        return len(self._wanted)
