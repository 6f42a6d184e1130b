"""LISTEN/NOTIFY against a real PostgreSQL that goes away and comes back."""

from __future__ import annotations

import asyncio

import pytest

from control.state.engines import database_url
from control.state.notices import Notices
from tests.lab.postgres import running_postgres


async def _until(condition) -> None:
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.timeout(40)
async def test_ok__comes_back_with_the_database():
    with running_postgres() as server:
        heard, states = [], []
        notices = Notices(database_url(server.create()), "waypost_1", heard.append, states.append)
        notices.post("lost")
        async with asyncio.TaskGroup() as group:
            running = group.create_task(notices.run("bye"))
            await _until(lambda: states == [True])
            notices.post("one")
            await _until(lambda: heard == ["one"])
            server.stop()
            await _until(lambda: states == [True, False])
            server.start()
            await _until(lambda: states == [True, False, True])
            notices.post("two")
            notices.post("three")
            await _until(lambda: heard == ["one", "two", "three"])
            running.cancel()
