"""A DERP server in memory that speaks through the real handshake and records what it gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from appliance.magicsock.derp.pool import DerpClientPool
from appliance.ports.clock import VirtualClock
from appliance.ports.randomness import SeededRandomness
from appliance.ports.streams import MemoryDialer, MemoryStream
from appliance.proto.derp.frames import Frame, encode_frame, parse_frame
from appliance.proto.derp.handshake import ServerInfo
from appliance.proto.derp.server import HandshakeState, ServerHandshake
from appliance.proto.derp.upgrade import wants_fast_start
from appliance.proto.http1.head import parse_request_head
from appliance.types.ids import RegionId
from appliance.types.keys import DerpPrivateKey, NodePrivateKey, NodePublicKey
from appliance.types.netmap import DerpMap, DerpNode, DerpRegion

KEY = NodePrivateKey(b"\x11" * 32)


class MemoryDerp:
    """One region's server: `got` are the frames of all connections, `streams` those that are open."""

    def __init__(self) -> None:
        self.got: list[Frame] = []
        self.streams: list[MemoryStream] = []
        self.accepted = 0
        self.answers_pings = True
        self.heads: list[bytes] = []

    async def serve(self, stream: MemoryStream) -> None:
        data = b""
        while (found := parse_request_head(data)) is None:
            more = await stream.read()
            if not more:
                return
            data += more
        head, size = found
        self.heads.append(data[:size])
        if head.path != "/derp":
            stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            return
        handshake = ServerHandshake(DerpPrivateKey(b"\x20" * 32), 0.0, answer_upgrade=not wants_fast_start(head))
        stream.write(handshake.data_to_send())
        data = data[size:]
        while True:
            if data:
                handshake.receive_data(data)
            if handshake.state is not HandshakeState.AWAIT_CLIENT:
                break
            data = await stream.read()
            if not data:
                return
        answer, parser, frames = handshake.accept(bytes(24), ServerInfo())
        stream.write(answer)
        self.accepted += 1
        self.streams.append(stream)
        while True:
            for kind, payload in frames:
                self.got.append(parse_frame(kind, payload))
                if kind == 0x12 and self.answers_pings:
                    stream.write(b"\x13\x00\x00\x00\x08" + payload)
            data = await stream.read()
            if not data:
                break
            frames = parser.feed(data)
        if stream in self.streams:
            self.streams.remove(stream)

    def send(self, frame: Frame) -> None:
        self.streams[-1].write(encode_frame(frame))

    def hang_up(self) -> None:
        self.streams.pop().close()


class Sink:
    """Records what the pool tells."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def derp_received(self, region: RegionId, source: NodePublicKey, packets: Sequence[bytes]) -> None:
        self.told.append(("received", region, source, tuple(packets)))

    def derp_peer_gone(self, region: RegionId, peer: NodePublicKey, not_here: bool) -> None:
        self.told.append(("gone", region, peer, not_here))

    def derp_connected(self, region: RegionId) -> None:
        self.told.append(("connected", region))

    def derp_disconnected(self, region: RegionId, error: str) -> None:
        self.told.append(("disconnected", region, error))


class World:
    """A pool and the servers of regions 1 to 3."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.dialer = MemoryDialer()
        self.sink = Sink()
        self.servers = {number: MemoryDerp() for number in (1, 2, 3)}
        for number, server in self.servers.items():
            self.dialer.servers[(f"192.0.2.{number}", 443)] = server.serve
        self.map = DerpMap({RegionId(number): self.region(number) for number in self.servers})
        self.pool = DerpClientPool(self.dialer, self.clock, SeededRandomness(1), self.sink)

    def region(self, number: int, **changes: object) -> DerpRegion:
        fields = {"host_name": f"derp{number}.test", "ipv4": f"192.0.2.{number}", "ipv6": "none"} | changes
        node = DerpNode(f"{number}a", RegionId(number), **fields)  # type: ignore[arg-type]  # keyword table
        return DerpRegion(RegionId(number), f"r{number}", f"Region {number}", (node,))

    def open(self, home: int = 0) -> None:
        self.pool.set_private_key(KEY)
        self.pool.set_derp_map(self.map)
        self.pool.set_home(RegionId(home))

    async def until(self, condition: Callable[[], object]) -> None:
        """Let tasks run until the condition holds."""
        while not condition():
            await asyncio.sleep(0)

    async def told(self, *event: object) -> None:
        await self.until(lambda: event in self.sink.told)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.pool.close()
    for server in made.servers.values():
        for stream in list(server.streams):
            stream.close()
    await asyncio.sleep(0)
