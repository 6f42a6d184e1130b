"""Measurement over sockets in memory, in real time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from appliance.ports.clock import Clock, SystemClock, VirtualClock
from appliance.ports.packets import MemoryUdpPort, Segments, one
from appliance.ports.randomness import SeededRandomness
from appliance.proto.stun import (
    TRAIN_REQUEST_SIZE,
    encode_response,
    encode_ticket,
    encode_train_packet,
    parse_request,
    parse_train_request,
)
from appliance.types.addresses import AddrPort
from appliance.types.errors import UnderlayError
from appliance.uplinks.choice import Policy
from appliance.uplinks.meter import Condition
from appliance.uplinks.service import UplinkService

SERVER = AddrPort("203.0.113.1", 3478)
MAPPED = AddrPort("198.51.100.1", 1)


def answers(data: bytes) -> list[bytes]:
    """What a server of ours says."""
    if len(data) != TRAIN_REQUEST_SIZE:
        return [encode_response(parse_request(data), MAPPED)]
    request = parse_train_request(data)
    if not request.packets:
        return [encode_ticket(request.tx_id, MAPPED, b"t" * 16)]
    return [encode_train_packet(request.tx_id, MAPPED)] * request.packets


class World:
    """Two uplinks; those in `dead` swallow everything, those in `broken` have no socket."""

    def __init__(self, clock: Clock | None = None, measured: Callable[[str], bool] = lambda _name: False) -> None:
        self.dead: set[str] = set()
        self.broken: set[str] = set()
        self.ports: dict[str, MemoryUdpPort] = {}
        self.chosen: list[str] = []
        self.news = asyncio.Event()
        self.service = UplinkService(
            self._open,
            clock or SystemClock(),
            SeededRandomness(1),
            order=("fibre", "lte"),
            policy=Policy.ORDER,
            on_choice=self._on_choice,
            measured=measured,
        )
        self.service.set_targets([SERVER])

    def _on_choice(self, name: str) -> None:
        self.chosen.append(name)
        self.news.set()

    def _open(self, name: str) -> MemoryUdpPort:
        if name in self.broken:
            raise UnderlayError("no such device")

        def wire(_source: AddrPort, to: AddrPort, batch: Segments) -> None:
            if name not in self.dead:
                for answer in answers(bytes(batch.buffer)):
                    asyncio.get_running_loop().call_soon(self.ports[name].deliver, to, one(answer))

        self.ports[name] = MemoryUdpPort(AddrPort("0.0.0.0", 1), wire)
        return self.ports[name]

    def condition(self, name: str) -> Condition | None:
        quality = next(state.quality for state in self.service.states() if state.interface == name)
        return quality.condition if quality is not None else None


async def test_ok__away_from_a_dead_uplink_and_from_one_that_is_gone() -> None:
    world = World()
    world.dead.add("fibre")
    world.service.set_present(["fibre", "lte", "other"])
    assert world.chosen == ["fibre"], "before anything is known, as the order says"
    async with asyncio.timeout(9):
        task = asyncio.ensure_future(world.service.run())
        while world.service.current != "lte":
            world.news.clear()
            await world.news.wait()
        assert world.condition("fibre") is Condition.DOWN
        assert world.condition("lte") is Condition.GOOD
        world.service.set_present(["fibre"])
        assert world.service.current == "fibre", "a bad one is better than none"
        assert world.condition("lte") is None
        assert world.ports["lte"].closed
        world.service.set_present([])
        assert world.service.current == ""
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert all(port.closed for port in world.ports.values())


async def test_fail__an_interface_without_a_socket_counts_as_silent() -> None:
    world = World()
    world.broken.add("lte")
    world.service.set_present(["fibre", "lte"])
    task = asyncio.ensure_future(world.service.run())
    while not (world.service.states()[1].quality and world.service.states()[1].quality.loss == 1.0):
        await asyncio.sleep(0.01)
    assert world.service.current == "fibre"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_ok__what_an_uplink_carries_is_measured_unless_it_is_metered() -> None:
    clock = VirtualClock()
    world = World(clock, measured=lambda name: name != "lte")
    world.service.set_present(["fibre", "lte"])
    for _ in range(60):
        clock.advance(1.0)
        world.service._step()
        await asyncio.sleep(0)
    fibre, lte = world.service.states()
    assert (fibre.metered, lte.metered) == (False, True)
    assert fibre.quality is not None
    assert lte.quality is not None
    assert fibre.quality.up_rate is not None
    assert fibre.quality.down_rate is not None
    assert (lte.quality.up_rate, lte.quality.down_rate) == (None, None)
