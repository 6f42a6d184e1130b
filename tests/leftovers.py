"""A test ends when its connections have: none is left for the garbage collector to find in a later test.

What a peer closed is seen a moment later, on a busy machine after the event loop of the test is gone. Then nobody
closes the other side, and the warning of it, an error here, hits whichever test runs when its memory is collected.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator

import pytest

GRACE_S = 5.0
LOOK_S = 0.002


def open_transports(loop: asyncio.AbstractEventLoop) -> list[asyncio.BaseTransport]:
    """Those of sockets that are not closed yet. asyncio's selector loop knows them by file descriptor."""
    known: list[asyncio.BaseTransport] = list(getattr(loop, "_transports", {}).values())
    return [transport for transport in known if transport.get_extra_info("socket").fileno() != -1]


@pytest.fixture
async def awaited_end() -> AsyncIterator[None]:
    """The last fixture to end."""
    yield
    loop = asyncio.get_running_loop()
    deadline = loop.time() + GRACE_S
    while left := open_transports(loop):
        if loop.time() > deadline:
            pytest.fail(f"connections of this test are still open: {left}", pytrace=False)
        await asyncio.sleep(LOOK_S)


@pytest.fixture(autouse=True)
def connections_end(request: pytest.FixtureRequest) -> None:
    """Tests without an event loop get none."""
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("awaited_end")
