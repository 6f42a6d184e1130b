"""How late the event loop is: what a packet, a request or a timer waits for because the loop is busy.

Measured only while somebody asks, so that an idle gateway is not woken up for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from appliance.localapi.schema import LoopDelay
from appliance.ports.clock import SystemClock

INTERVAL_S = 0.002
MAX_SECONDS = 60.0


async def measure(
    seconds: float,
    now: Callable[[], float] | None = None,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> LoopDelay:
    """Sleep for `INTERVAL_S` again and again, and note how much later it got. `seconds` is cut to `MAX_SECONDS`."""
    now = now or SystemClock().now  # not the loop's own time: uvloop rounds it to milliseconds
    end = now() + min(seconds, MAX_SECONDS)
    delays: list[float] = []
    while (before := now()) < end:
        await sleep(INTERVAL_S)
        delays.append(max(0.0, now() - before - INTERVAL_S))
    delays.sort()
    if not delays:
        return LoopDelay()
    return LoopDelay(worst_s=delays[-1], p99_s=delays[len(delays) * 99 // 100], samples=len(delays))
