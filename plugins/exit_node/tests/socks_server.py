"""A SOCKS5 proxy on loopback that grants everything and echoes what it gets, in TCP and in UDP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from plugins.exit_node.proxies import Proxy

ASSOCIATE = 3


class Echo(asyncio.DatagramProtocol):
    def __init__(self, server: SocksServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # as asyncio documents it
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        self._server.datagrams.append(data)
        for each in self._server.answers(data):
            self._transport.sendto(each, addr)


class SocksServer:
    """With `closed` it hangs up at once; `refusal` is its reply to associations, 0: granted. `requests` are those for
    TCP, with the credentials before them."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.datagrams: list[bytes] = []
        self.closed = False
        self.refusal = 0
        self.associations: set[asyncio.StreamWriter] = set()
        self.made = 0

    def answers(self, data: bytes) -> list[bytes]:
        """A datagram's echo, as if its goal had sent it."""
        return [data]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            methods = await reader.readexactly((await reader.readexactly(2))[1])
            if self.closed:
                return
            authorised = b""
            if 2 in methods:
                writer.write(b"\5\2")
                authorised = await reader.readexactly(2 + 3 + 1 + 6)
                writer.write(b"\1\0")
            else:
                writer.write(b"\5\0")
            request = await reader.readexactly(10)
            if request[1] == ASSOCIATE:
                await self._associate(reader, writer)
                return
            self.requests += [each for each in (authorised, request) if each]
            writer.write(b"\5\0\0\1" + bytes(6))
            while data := await reader.read(1000):
                writer.write(data)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def _associate(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusal:
            writer.write(bytes([5, self.refusal, 0, 1]) + bytes(6))
            return
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: Echo(self), ("127.0.0.1", 0))
        self.associations.add(writer)
        self.made += 1
        try:
            port: int = transport.get_extra_info("sockname")[1]
            writer.write(b"\5\0\0\1" + bytes(4) + port.to_bytes(2, "big"))
            await reader.read()
        finally:
            self.associations.discard(writer)
            transport.close()


async def until(true: Callable[[], object], pause: Callable[[], Awaitable[None]] | None = None) -> None:
    """`pause` is what to do between two looks; the sockets are real, the clock may not be."""
    async with asyncio.timeout(8):
        while not true():
            if pause is not None:
                await pause()
            await asyncio.sleep(0.005)


@asynccontextmanager
async def socks_server() -> AsyncIterator[tuple[SocksServer, Proxy]]:
    server = SocksServer()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        yield server, Proxy(is_socks=True, host="127.0.0.1", port=listening.sockets[0].getsockname()[1])
