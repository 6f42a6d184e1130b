"""Open connections are seen until both ends are closed, and a peer's late end is waited for."""

from __future__ import annotations

import asyncio

from tests.leftovers import open_transports


async def test_ok__open_until_closed() -> None:
    loop = asyncio.get_running_loop()
    far: list[asyncio.Transport] = []

    class Held(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transport.pause_reading()
            far.append(transport)

    server = await loop.create_server(Held, "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    while not far:
        await asyncio.sleep(0)
    assert len(open_transports(loop)) == 2
    writer.close()
    await writer.wait_closed()
    assert open_transports(loop) == far, "it does not see the end yet"
    server.close()
    loop.call_later(0.1, far[0].resume_reading)  # after the test: who waits for its end sees this
