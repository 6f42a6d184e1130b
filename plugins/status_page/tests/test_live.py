from __future__ import annotations

import asyncio

from plugins.status_page.live import MAX_WATCHERS, LiveFrame


async def test_ok__watchers_are_woken_by_what_differs() -> None:
    live = LiveFrame()
    waiting = asyncio.ensure_future(live.newer(0))
    await asyncio.sleep(0)
    assert not waiting.done()
    live.publish({"a": "1"})
    assert await waiting == 1
    assert await live.newer(0) == 1
    waiting = asyncio.ensure_future(live.newer(1))
    live.publish({"a": "1"})
    await asyncio.sleep(0)
    assert not waiting.done(), "nothing changed"
    live.publish({"a": "2"})
    live.publish({"a": "3"})
    assert await waiting == 3, "a slow watcher skips frames"


async def test_ok__watchers_are_counted_and_bounded() -> None:
    live = LiveFrame()
    watched = asyncio.ensure_future(live.watched())
    await asyncio.sleep(0)
    assert not watched.done()
    with live.watching():
        await watched
        assert live.watchers == 1
        assert not live.is_full
    assert live.watchers == 0
    again = asyncio.ensure_future(live.watched())
    await asyncio.sleep(0)
    assert not again.done(), "nobody watches any more"
    again.cancel()
    live.watchers = MAX_WATCHERS
    assert live.is_full
