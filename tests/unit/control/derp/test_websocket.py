"""DERP inside WebSocket, with a WebSocket client that is not ours."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from appliance.proto.derp.client import Connected, DerpClient, PacketsReceived, PongReceived
from appliance.types.keys import NodePrivateKey
from control.derp.throttle import Rate


class Browser:
    """A DERP client whose bytes travel in binary messages."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, seed: int = 5) -> None:
        self.socket = socket
        self.machine = DerpClient(NodePrivateKey(bytes((seed,)) * 32), "derp.test", bytes(24), 0.0)
        self.machine.data_to_send(0.0)  # the HTTP request, which the WebSocket's own stands for
        self.machine._read_head(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")

    async def event(self) -> Any:
        while True:
            found = self.machine.next_event()
            if found is not None:
                return found
            data = self.machine.data_to_send(0.0)
            for at in range(0, len(data), 7):  # message boundaries mean nothing
                await self.socket.send_bytes(data[at : at + 7])
            message = await self.socket.receive()
            assert message.type is aiohttp.WSMsgType.BINARY, message
            assert len(message.data) <= 32 * 1024
            self.machine.receive_data(message.data, 0.0)


@pytest.fixture
async def session() -> Any:
    async with aiohttp.ClientSession() as made:
        yield made


def url(relaying: Any) -> str:
    return f"http://127.0.0.1:{relaying.port}/derp"


async def test_ok__a_browser_and_a_gateway_meet(relaying: Any, session: aiohttp.ClientSession) -> None:
    async with session.ws_connect(url(relaying), protocols=("derp",)) as socket:
        assert socket.protocol == "derp"
        browser, gateway = Browser(socket), await relaying.connect(1)
        assert isinstance(await browser.event(), Connected)
        key = relaying.server.relay.keys()
        own = next(each for each in key if each != gateway.key)
        large = bytes(range(256)) * 250
        await gateway.send(own, large)
        assert await browser.event() == PacketsReceived(gateway.key, (large,))
        browser.machine.send_packets(gateway.key, (b"back",), 0.0)
        browser.machine.ping(b"12345678")
        assert await browser.event() == PongReceived(b"12345678")
        assert await gateway.event() == PacketsReceived(own, (b"back",))
        await socket.ping(b"hello")
    assert relaying.server.metrics()["websockets"] == 1
    await relaying.until(lambda: relaying.server.metrics()["current_connections"] == 1)


@pytest.mark.parametrize(("send", "code"), [("text", 1003), ("close", 1000)])
async def test_fail__text_and_farewells_end_it(
    relaying: Any, session: aiohttp.ClientSession, send: str, code: int
) -> None:
    async with session.ws_connect(url(relaying), protocols=("derp",), autoclose=False) as socket:
        await socket.receive()  # the server's key
        if send == "text":
            await socket.send_str("hello")
        else:
            await socket.close()
            assert socket.close_code == code
            return
        message = await socket.receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, code)


async def test_fail__half_a_handshake_is_refused(relaying: Any) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", relaying.port)
    writer.write(
        b"GET /derp HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Protocol: derp\r\n\r\n"
    )
    assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_ok__a_rate_holds_for_browsers_too(start: Any, session: aiohttp.ClientSession) -> None:
    relaying = await start()
    limits = type(relaying.server._limits)
    relaying.server.set_limits(limits(client=Rate(1_000_000, 65_568)))
    async with session.ws_connect(url(relaying), protocols=("derp",)) as socket:
        browser = Browser(socket)
        assert isinstance(await browser.event(), Connected)
        browser.machine.send_packets(relaying.server.relay.keys()[0], (bytes(60_000), bytes(60_000)), 0.0)
        await browser.event()
        assert relaying.server.metrics()["reads_delayed"] >= 1
