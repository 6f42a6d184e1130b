"""A virtual clock on which coroutines can sleep: time passes only in `advance`."""

from __future__ import annotations

import asyncio
import heapq

from appliance.ports.clock import VirtualClock

_SETTLE_TURNS = 50
"""Loop turns given to woken coroutines before time goes on."""


class VirtualTime(VirtualClock):
    """A `Clock` with `sleep`. Sleepers wake in order of their deadlines."""

    def __init__(self) -> None:
        super().__init__()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self.now() + seconds, self._count, future))
        await future

    @property
    def next_wake(self) -> float | None:
        """When the next sleeper wakes, None when nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, waking every sleeper at its own instant."""
        end = self.now() + seconds
        await settle()
        while (wake := self.next_wake) is not None and wake <= end:
            self.advance(max(0.0, wake - self.now()))
            future = heapq.heappop(self._sleepers)[2]
            future.set_result(None)
            await settle()
        self.advance(max(0.0, end - self.now()))


async def settle() -> None:
    """Give every ready coroutine its turns."""
    for _ in range(_SETTLE_TURNS):
        await asyncio.sleep(0)
