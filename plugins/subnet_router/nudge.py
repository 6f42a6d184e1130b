"""A pause that news cut short."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Nudge:
    """`sleep` takes seconds. `give` counts for the pause under way, or for the next."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._sleep = sleep
        self._given = asyncio.Event()

    def give(self) -> None:
        self._given.set()

    async def rest(self, seconds: float) -> None:
        """At most so long."""
        async with asyncio.TaskGroup() as group:
            ends = [group.create_task(self._until_over(seconds)), group.create_task(self._until_given())]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in ends:
                task.cancel()
        self._given.clear()

    async def _until_over(self, seconds: float) -> None:
        await self._sleep(seconds)

    async def _until_given(self) -> None:
        await self._given.wait()
