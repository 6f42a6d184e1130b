from __future__ import annotations

import asyncio

from appliance.api.testing import VirtualTime, settle


async def test_ok__sleepers_wake_in_order_at_their_instants() -> None:
    time = VirtualTime()
    start = time.now()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await time.sleep(seconds)
        woken.append((name, time.now() - start))

    async with asyncio.TaskGroup() as group:
        group.create_task(sleeper("late", 5))
        group.create_task(sleeper("early", 2))
        await settle()
        await time.pass_time(1.5)
        assert woken == []
        await time.pass_time(10)
    assert woken == [("early", 2.0), ("late", 5.0)]
    assert time.now() == start + 11.5


async def test_ok__cancelled_sleeper_is_forgotten() -> None:
    time = VirtualTime()
    task = asyncio.ensure_future(time.sleep(5))
    await settle()
    task.cancel()
    await settle()
    assert time.next_wake is None
