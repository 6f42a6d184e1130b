"""The service on twins: sockets in memory, HTTP by streams in memory, real time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from appliance.portmap.mapping import Kind, PortMapping, RouterPlace
from appliance.portmap.service import PortMappingService
from appliance.ports.clock import SystemClock
from appliance.ports.packets import MemoryUdpPort, Segments, one
from appliance.ports.randomness import SeededRandomness
from appliance.ports.streams import MemoryDialer, MemoryStream
from appliance.types.addresses import AddrPort
from appliance.types.errors import UnderlayError
from tests.unit.appliance.portmap.twin_router import PLACE, PORT, TwinRouter


class World:
    """A service beside a router."""

    def __init__(self, *kinds: Kind) -> None:
        self.router = TwinRouter()
        self.clock = SystemClock()
        self.place: RouterPlace | None = PLACE
        self.results: list[PortMapping] = []
        self.ports: list[MemoryUdpPort] = []
        self.changed = asyncio.Event()
        self.dialer = MemoryDialer()
        self.dialer.servers["192.168.1.1", 5000] = self._serve
        self.service = PortMappingService(
            self._open,
            self.dialer,
            self.clock,
            SeededRandomness(1),
            kinds=kinds,
            place=lambda: self.place,
            local_port=lambda: PORT,
            on_change=self._on_change,
        )

    def _open(self) -> list[MemoryUdpPort]:
        self.ports.append(MemoryUdpPort(AddrPort("192.168.1.10", 1234), self._wire))
        return self.ports[-1:]

    def _wire(self, _source: AddrPort, to: AddrPort, batch: Segments) -> None:
        answer = self.router.answer(to, bytes(batch.buffer), self.clock.now())
        if answer is not None:
            asyncio.get_running_loop().call_soon(self.ports[-1].deliver, answer[0], one(answer[1]))

    async def _serve(self, stream: MemoryStream) -> None:
        request = await stream.read()
        reply = self.router.web(5000, request)
        assert reply is not None
        stream.write(f"HTTP/1.1 {reply.status} X\r\nContent-Length: {len(reply.body)}\r\n\r\n".encode() + reply.body)

    def _on_change(self, result: PortMapping) -> None:
        self.results.append(result)
        self.changed.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.ensure_future(self.service.run())
        try:
            await asyncio.sleep(0)
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.service.close()

    async def mapped(self, wanted: bool = True) -> None:
        while (self.service.result.mapping is not None) is not wanted:
            self.changed.clear()
            await self.changed.wait()


async def test_ok__mapped_while_wanted_and_given_back_at_the_end() -> None:
    world = World(Kind.PCP)
    async with world.running():
        assert not world.ports, "no socket before somebody wants it"
        world.service.set_wanted(True)
        await world.mapped()
        assert world.router.mappings == {PORT: 50001}
    assert world.router.mappings == {}
    assert all(port.closed for port in world.ports)
    assert world.results[-1] == PortMapping()


async def test_ok__by_upnp_over_streams_and_deleted_at_the_end() -> None:
    world = World(Kind.UPNP)
    async with world.running():
        world.service.set_wanted(True)
        await world.mapped()
        assert PORT in world.router.mappings
    assert world.router.asked[-1] == "DeletePortMapping"
    assert {host for host, _, _ in world.dialer.dialled} == {"192.168.1.1"}


async def test_ok__no_longer_wanted_closes_the_socket() -> None:
    world = World(Kind.PCP)
    async with world.running():
        world.service.set_wanted(True)
        await world.mapped()
        world.service.set_wanted(False)
        await world.mapped(False)
        assert world.ports[-1].closed
        world.service.set_wanted(True)
        await world.mapped()


async def test_ok__another_network_is_noticed_when_told() -> None:
    world = World(Kind.PCP)
    async with world.running():
        world.service.set_wanted(True)
        await world.mapped()
        world.place = None
        world.service.refresh()
        await world.mapped(False)
        assert world.service.result == PortMapping()


async def test_ok__probe_says_what_the_router_speaks() -> None:
    world = World(Kind.PCP, Kind.NAT_PMP)
    async with world.running():
        world.service.set_wanted(True)
        await world.mapped()
        world.router.speaks = {Kind.NAT_PMP}
        assert (await world.service.probe()).seen == {Kind.NAT_PMP}


async def test_ok__switched_off() -> None:
    world = World()
    async with world.running():
        world.service.set_wanted(True)
        assert (await world.service.probe()) == PortMapping()
    assert not world.ports


async def test_fail__http_server_that_talks_nonsense() -> None:
    world = World(Kind.UPNP)

    async def nonsense(stream: MemoryStream) -> None:
        await stream.read()
        stream.write(b"\0" * 9000)

    world.dialer.servers["192.168.1.1", 5000] = nonsense
    async with world.running():
        world.service.set_wanted(True)
        while not world.service.result.error:
            world.changed.clear()
            await world.changed.wait()
    assert world.service.counters()["portmap_http_failed"] == 1


async def test_fail__no_socket_to_be_had() -> None:
    world = World(Kind.PCP)

    def refuse() -> list[MemoryUdpPort]:
        raise UnderlayError("no sockets")

    world.service._open_ports = refuse
    async with world.running():
        world.service.set_wanted(True)
        assert world.service.counters()["portmap_no_socket"] == 1
