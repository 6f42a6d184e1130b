"""TCP of the simulator: reliable, in order, late by the way between the two. A host that sleeps hears when it wakes.

As with connections to DERP, one outlives a roam that the host's system does not notice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from appliance.ports.streams import TlsPolicy
from tests.sim.network import Host

ASLEEP_S = 0.5
Place = tuple[str, int]


class ClientStream:
    """The end of the one who dialled: an `appliance.ports.streams.ByteStream`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, host: Host, way_s: float) -> None:
        self._loop, self._host, self.way_s = loop, host, way_s
        self._arrived: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._held: deque[bytes] = deque()
        self._ended = False
        self.server: ServerTransport | None = None

    def arrive(self, data: bytes) -> None:
        """b"" is the end."""
        self._held.append(data)
        if len(self._held) == 1:
            self._hear()

    def _hear(self) -> None:
        if self._host.asleep:
            self._loop.call_later(ASLEEP_S, self._hear)
            return
        while self._held:
            self._arrived.append(self._held.popleft())
        self._news.set()

    async def read(self, limit: int = 65536) -> bytes:
        while not self._arrived and not self._ended:
            self._news.clear()
            await self._news.wait()
        if not self._arrived:
            return b""
        data = self._arrived.popleft()
        if len(data) > limit:
            self._arrived.appendleft(data[limit:])
        self._ended = self._ended or not data
        return data[:limit]

    def write(self, data: bytes) -> None:
        server = self.server
        if server is not None and data:
            self._loop.call_later(self.way_s, server.arrive, bytes(data))

    async def drain(self) -> None:
        await asyncio.sleep(0)

    def queued_bytes(self) -> int:
        return 0

    def close(self) -> None:
        server, self.server = self.server, None
        self._ended = True
        self._news.set()
        if server is not None:
            self._loop.call_later(self.way_s, server.lost)

    def peer_certificates(self) -> tuple[bytes, ...]:
        return ()

    @property
    def local_ip(self) -> str:
        return self._host.ip


class ServerTransport(asyncio.Transport):
    """The end of the server."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, client: ClientStream, protocol: asyncio.Protocol, peer: Place
    ) -> None:
        super().__init__({"peername": peer})
        self._loop, self._client, self._protocol = loop, client, protocol
        self._closed = self._paused = False
        self._waiting: deque[bytes] = deque()

    def arrive(self, data: bytes) -> None:
        self._waiting.append(data)
        while self._waiting and not self._paused and not self._closed:
            self._protocol.data_received(self._waiting.popleft())

    def lost(self) -> None:
        if not self._closed:
            self._closed = True
            self._protocol.connection_lost(None)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def write(self, data: Any) -> None:
        if not self._closed:
            self._loop.call_later(self._client.way_s, self._client.arrive, bytes(data))

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._client.server = None
        self._loop.call_later(self._client.way_s, self._client.arrive, b"")
        self._loop.call_soon(self._protocol.connection_lost, None)

    abort = close

    def is_closing(self) -> bool:
        return self._closed

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        if self._waiting:
            self._loop.call_soon(self.arrive, self._waiting.popleft())

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever kept here."""

    def get_write_buffer_size(self) -> int:
        return 0


class Listeners:
    """Who listens where, by address and port."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._factories: dict[Place, Callable[[], asyncio.Protocol]] = {}

    def listen(self, factory: Callable[[], asyncio.Protocol], ip: str, port: int) -> Listening:
        self._factories[ip, port] = factory
        return Listening(self, (ip, port))

    def end(self, place: Place) -> None:
        self._factories.pop(place, None)

    def connect(self, host: Host, place: Place, way_s: float) -> ClientStream:
        """Raises `ConnectionRefusedError` where nobody listens."""
        factory = self._factories.get(place)
        if factory is None:
            raise ConnectionRefusedError(f"nobody listens on {place[0]}:{place[1]}")
        protocol, client = factory(), ClientStream(self._loop, host, way_s)
        client.server = ServerTransport(self._loop, client, protocol, (host.ip, 40000))
        protocol.connection_made(client.server)
        return client


class Listening:
    """What `create_server` returns, and the one socket of it."""

    def __init__(self, listeners: Listeners, place: Place) -> None:
        self._listeners, self._place = listeners, place

    @property
    def sockets(self) -> list[Listening]:
        return [self]

    def getsockname(self) -> Place:
        return self._place

    def setsockopt(self, *_option: int) -> None:
        """No such connection ever dies unnoticed."""

    def close(self) -> None:
        self._listeners.end(self._place)


class HostDialer:
    """An `appliance.ports.streams.StreamDialer`. `way_s`: one way to the server."""

    def __init__(self, listeners: Listeners, host: Host, way_s: float) -> None:
        self._listeners, self._host, self._way_s = listeners, host, way_s

    async def dial(
        self, host: str, port: int, *, tls: TlsPolicy | None = None, timeout_s: float = 10.0
    ) -> ClientStream:
        if tls is not None:
            raise ConnectionRefusedError("the simulated server speaks no TLS")
        await asyncio.sleep(2 * self._way_s)
        return self._listeners.connect(self._host, (host, port), self._way_s)
