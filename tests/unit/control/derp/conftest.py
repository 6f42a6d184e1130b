"""A DERP server on a virtual clock and clients that speak to it over loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from appliance.crypto.x25519 import public_key
from appliance.ports.clock import VirtualClock
from appliance.ports.randomness import SeededRandomness
from appliance.proto.derp.client import ClientEvent, ClientState, Closed, Connected, DerpClient
from appliance.types.keys import DerpPrivateKey, NodePrivateKey, NodePublicKey
from control.derp.server import DerpServer


class Peer:
    """A client: the machine, and a stream that is read only when asked."""

    def __init__(self, seed: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.private = NodePrivateKey(bytes((seed,)) * 32)
        self.key = public_key(self.private)
        self.machine = DerpClient(self.private, "derp.test", bytes(24), 0.0)
        self.reader = reader
        self.writer = writer

    async def flush(self) -> None:
        self.writer.write(self.machine.data_to_send(0.0))
        await self.writer.drain()

    async def event(self) -> ClientEvent:
        """The next event, reading as needed."""
        while True:
            found = self.machine.next_event()
            if found is not None:
                return found
            await self.flush()
            try:
                data = await self.reader.read(65536)
            except ConnectionError:
                data = b""
            self.machine.receive_data(data, 0.0)

    async def send(self, to: NodePublicKey, *packets: bytes) -> None:
        self.machine.send_packets(to, packets, 0.0)
        await self.flush()

    async def settle(self) -> None:
        """Wait until the server handled everything sent so far."""
        self.machine.ping(b"settled!")
        while type(await self.event()).__name__ != "PongReceived":
            continue

    async def ended(self) -> bool:
        while True:
            event = await self.event()
            if isinstance(event, Closed):
                return True

    def close(self) -> None:
        self.writer.transport.abort()


class Relaying:
    def __init__(self, server: DerpServer, clock: VirtualClock, port: int) -> None:
        self.server = server
        self.clock = clock
        self.port = port
        self.peers: list[Peer] = []

    async def dial(self, seed: int) -> Peer:
        peer = Peer(seed, *await asyncio.open_connection("127.0.0.1", self.port))
        self.peers.append(peer)
        return peer

    async def connect(self, seed: int) -> Peer:
        peer = await self.dial(seed)
        assert isinstance(await peer.event(), Connected)
        assert peer.machine.state is ClientState.OPEN
        return peer

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0)


Starter = Callable[..., Awaitable[Relaying]]


@pytest.fixture
async def start() -> AsyncIterator[Starter]:
    """Start a server; keyword arguments go to `DerpServer`."""
    running: list[Relaying] = []

    async def begin(**options: object) -> Relaying:
        clock = VirtualClock()
        server = DerpServer(DerpPrivateKey(b"\x20" * 32), SeededRandomness(1), clock, **options)  # type: ignore[arg-type]  # passed on
        running.append(Relaying(server, clock, await server.listen("127.0.0.1", 0)))
        return running[-1]

    yield begin
    for relaying in running:
        for peer in relaying.peers:
            peer.close()
        await relaying.server.stop()


@pytest.fixture
async def relaying(start: Starter) -> Relaying:
    return await start()
