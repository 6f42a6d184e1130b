"""What the numbered feeds share: readers that wait for a number later than the last they saw."""

from __future__ import annotations

import asyncio


class Numbered:
    """One per process. Belongs to one event loop."""

    def __init__(self) -> None:
        self._number = 0
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def number(self) -> int:
        """Of the latest entry, 0 before the first."""
        return self._number

    def _count(self) -> int:
        """The number of a new entry; the readers wake up."""
        self._number += 1
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        return self._number

    async def _later_than(self, number: int) -> None:
        while number == self._number:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
