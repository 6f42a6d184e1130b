"""A timing wheel: coarse timers for many connections at the cost of one (derp spec 12)."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class TimingWheel(Generic[T]):
    """Each item has at most one time. Resolution one slot; times lie less than `slots` slots ahead."""

    def __init__(self, now: float, *, slot_s: float = 1.0, slots: int = 128) -> None:
        self._slot_s = slot_s
        self._slots: list[set[T]] = [set() for _ in range(slots)]
        self._where: dict[T, int] = {}
        self._turn = int(now / slot_s)

    def set(self, item: T, at: float) -> None:
        """(Re)set the item's time. It comes due at `at` or up to one slot later."""
        self.discard(item)
        turn = min(max(-int(-at // self._slot_s), self._turn + 1), self._turn + len(self._slots) - 1)
        slot = turn % len(self._slots)
        self._slots[slot].add(item)
        self._where[item] = slot

    def discard(self, item: T) -> None:
        slot = self._where.pop(item, None)
        if slot is not None:
            self._slots[slot].discard(item)

    def due(self, now: float) -> Iterator[T]:
        """Items whose time has come; each leaves the wheel as it is handed out."""
        last = int(now / self._slot_s)
        self._turn = max(self._turn, last - len(self._slots))
        while self._turn < last:
            self._turn += 1
            slot = self._slots[self._turn % len(self._slots)]
            while slot:
                item = slot.pop()
                del self._where[item]
                yield item

    def __len__(self) -> int:
        return len(self._where)
