"""The numbered feed of changes and the iterator over it."""

from __future__ import annotations

import asyncio

from appliance.api.changes import ChangeFeed
from appliance.api.testing import FakeHost, settle
from appliance.api.values import StatusChange


async def test_ok__waiting_ends_with_the_change() -> None:
    feed = ChangeFeed()
    waiting = asyncio.ensure_future(feed.wait(0))
    await settle()
    assert not waiting.done()
    feed.note("path")
    feed.note("health")
    assert await waiting == StatusChange(2, ("health", "path"))
    assert await feed.wait(1) == StatusChange(2, ("health",))
    assert await feed.wait(99) == StatusChange(2, ("health", "path")), "another process counted"


async def test_ok__cancelled_waiter_is_forgotten() -> None:
    feed = ChangeFeed()
    waiting = asyncio.ensure_future(feed.wait(0))
    await settle()
    waiting.cancel()
    await settle()
    assert not feed._waiters


async def test_ok__follower_sees_a_burst_as_one_change() -> None:
    host = FakeHost()
    seen: list[StatusChange] = []

    async def read() -> None:
        async for change in host.changes(pause_s=0.25):
            seen.append(change)

    reader = asyncio.ensure_future(read())
    await settle()
    assert seen == [StatusChange(0)], "one at once"
    for kind in ("path", "path", "netmap"):
        host.feed.note(kind)
    await settle()
    assert len(seen) == 1, "the pause is kept"
    await host.time.pass_time(0.3)
    assert seen[1:] == [StatusChange(3, ("netmap", "path"))]
    await host.time.pass_time(60)
    assert len(seen) == 2
    reader.cancel()
