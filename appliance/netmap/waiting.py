"""Time-outs on the client's own sleep, so that a virtual clock drives them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from appliance.netmap.dialing import Sleep
from appliance.netmap.errors import ControlUnreachable

T = TypeVar("T")


async def within(work: Coroutine[Any, Any, T], seconds: float, sleep: Sleep, what: str) -> T:
    """The work's result; raises `ControlUnreachable` when it takes longer, and cancels it."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    timer = loop.create_task(_run(sleep(seconds)))
    try:
        await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ControlUnreachable(f"{what}: no answer within {seconds:g} s")
        return task.result()
    finally:
        timer.cancel()
        if not task.done():
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)  # also takes the error of work that nobody waits for now


async def first_of(*awaitables: Awaitable[object]) -> None:
    """Wait for one of them; the others are cancelled."""
    loop = asyncio.get_running_loop()
    tasks = {loop.create_task(_run(awaitable)) for awaitable in awaitables}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def _run(awaitable: Awaitable[object]) -> None:
    await awaitable
