"""The feed of what names resolve to."""

from __future__ import annotations

import asyncio

from appliance.api.answers import KEPT, AnswerFeed
from appliance.api.dns import DnsAnswer


async def test_ok__waits_for_the_next_and_gives_all_since() -> None:
    feed = AnswerFeed()
    feed.note(DnsAnswer("before.example"))
    async with asyncio.TaskGroup() as group:
        first = group.create_task(feed.wait(-1))
        await asyncio.sleep(0)
        feed.note(DnsAnswer("a.example"))
        feed.note(DnsAnswer("b.example"))
    assert [answer.name for answer in first.result().answers] == ["a.example", "b.example"]
    assert first.result().number == 3
    assert [answer.name for answer in (await feed.wait(2)).answers] == ["b.example"]
    assert len((await feed.wait(99)).answers) == 3, "a number of another run"


async def test_ok__a_slow_reader_loses_the_oldest() -> None:
    feed = AnswerFeed()
    for number in range(KEPT + 5):
        feed.note(DnsAnswer(str(number)))
    found = await feed.wait(0)
    assert (len(found.answers), found.answers[0].name) == (KEPT, "5")
