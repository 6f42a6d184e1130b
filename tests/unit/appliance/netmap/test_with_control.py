"""Two control clients at the real control server, over sockets on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from appliance.crypto.x25519 import clamp, public_key
from appliance.drivers.streams import SocketDialer
from appliance.netmap.client import ControlClient, ControlSettings
from appliance.netmap.errors import BadAuthKey, ControlUnreachable, NotAControlServer
from appliance.netmap.login import NodeKeys, Registered
from appliance.ports.clock import SystemClock
from appliance.ports.events import EventBus
from appliance.ports.randomness import SystemRandomness
from appliance.proto.control import messages as wire
from appliance.types.addresses import AddrPort
from appliance.types.events import BackendState, NetmapChanged
from appliance.types.keys import DiscoPublicKey, MachinePrivateKey, NodePrivateKey
from appliance.types.netmap import Endpoint, EndpointType, NetmapDiff
from control.server.app import RunningServer, running
from control.server.settings import ServerSettings
from control.service.actor import SYSTEM

pytestmark = pytest.mark.timeout(30)
"""Client and server whole, over sockets."""

RANDOM = SystemRandomness()


def make_keys() -> NodeKeys:
    private = NodePrivateKey(clamp(RANDOM.bytes(32)))
    return NodeKeys(private, public_key(private))


@dataclass
class Gateway:
    port: int
    name: str
    machine: MachinePrivateKey = field(default_factory=lambda: MachinePrivateKey(clamp(RANDOM.bytes(32))))
    keys: NodeKeys | None = None
    diffs: list[NetmapDiff] = field(default_factory=list)
    client: ControlClient = field(init=False)
    task: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        bus = EventBus()
        bus.subscribe(NetmapChanged, lambda event: self.diffs.append(event.diff))
        settings = ControlSettings(f"http://127.0.0.1:{self.port}", self.machine, make_keys, self._save)
        self.client = ControlClient(
            settings,
            dialer=SocketDialer(mark=0),
            clock=SystemClock(),
            randomness=RANDOM,
            bus=bus,
            keys=self.keys,
            hostinfo=wire.Hostinfo(os="linux", hostname=self.name, backend_log_id="0" * 64),
        )

    def _save(self, keys: NodeKeys) -> None:
        self.keys = keys

    def start(self) -> None:
        self.task = asyncio.ensure_future(self.client.run())

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            with suppress(asyncio.CancelledError):
                await self.task
        await self.client.close()

    def peer(self, name: str) -> Any:
        return next((peer for peer in self.client.netmap.peers.values() if peer.short_name == name), None)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    settings = ServerSettings(data_dir=tmp_path, listen=AddrPort("127.0.0.1", 0), derp_host=None, stun_port=0)
    async with running(settings) as made:
        await made.service.users.create(SYSTEM, "ann")
        yield made


async def auth_key(server: RunningServer, **options: Any) -> str:
    _, secret = await server.service.keys.create(SYSTEM, user="ann", **options)
    return secret


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
async def pair(server: RunningServer) -> AsyncIterator[tuple[Gateway, Gateway]]:
    one, two = Gateway(server.port, "gw1"), Gateway(server.port, "gw2")
    key = await auth_key(server, reusable=True)
    for gateway in (one, two):
        assert isinstance(await gateway.client.login(key), Registered)
        gateway.start()
    yield one, two
    for gateway in (one, two):
        await gateway.stop()


async def test_ok__two_gateways_see_each_other_and_their_changes(pair: tuple[Gateway, Gateway]) -> None:
    one, two = pair
    await until(lambda: one.peer("gw2") is not None and two.peer("gw1") is not None)
    assert one.client.state is BackendState.RUNNING
    assert one.client.netmap.self_node is not None
    assert one.client.netmap.self_node.address(4) is not None
    endpoint = AddrPort("192.0.2.7", 41641)
    two.client.update(endpoints=(Endpoint(endpoint, EndpointType.STUN),), disco_key=DiscoPublicKey(b"d" * 32))
    await until(lambda: one.peer("gw2").endpoints == (endpoint,))
    assert one.peer("gw2").disco_key == DiscoPublicKey(b"d" * 32)
    assert not one.diffs[-1].full
    assert set(one.diffs[-1].changed) == {one.peer("gw2").id}


async def test_ok__restart_keeps_the_address(server: RunningServer, pair: tuple[Gateway, Gateway]) -> None:
    one, _ = pair
    await until(lambda: one.client.is_connected)
    before = one.client.netmap.self_node
    await one.stop()
    again = Gateway(server.port, "gw1", one.machine, one.keys)
    again.start()
    await until(lambda: again.client.is_connected)
    assert before is not None
    assert again.client.netmap.self_node is not None
    assert again.client.netmap.self_node.addresses == before.addresses
    assert again.client.netmap.self_node.id == before.id
    await again.stop()


async def test_ok__a_lost_connection_goes_on_where_it_ended(
    server: RunningServer, pair: tuple[Gateway, Gateway]
) -> None:
    one, two = pair
    await until(lambda: one.peer("gw2") is not None and two.peer("gw1") is not None)
    await until(lambda: one.client.is_acknowledged and two.client.is_acknowledged)
    for number in range(1, 4):
        streams = server.hub.counters["streams_opened"]
        one.client.link_changed()
        await until(lambda: server.hub.counters["streams_opened"] > streams and one.client.is_connected)  # noqa: B023  # awaited at once
        endpoint = AddrPort("192.0.2.7", 41640 + number)
        two.client.update(endpoints=(Endpoint(endpoint, EndpointType.STUN),))
        await until(lambda: one.peer("gw2").endpoints == (endpoint,))  # noqa: B023  # awaited at once
    assert server.hub.counters["streams_resumed"] >= 1, "only what was under way when the connection ended costs a map"


async def test_fail__bad_and_used_keys(server: RunningServer) -> None:
    once = await auth_key(server)
    first, second = Gateway(server.port, "gw1"), Gateway(server.port, "gw2")
    with pytest.raises(BadAuthKey) as caught:
        await first.client.login("waypost-auth-nonsense")
    assert caught.value.mend
    assert isinstance(await first.client.login(once), Registered)
    with pytest.raises(BadAuthKey):
        await second.client.login(once)
    for gateway in (first, second):
        await gateway.stop()


async def test_fail__nothing_listens_there(server: RunningServer) -> None:
    free = Gateway(1, "gw")
    with pytest.raises(ControlUnreachable, match=r"127\.0\.0\.1:1"):
        await free.client.login("k")
    await free.stop()


async def test_fail__another_kind_of_server() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello")
        await writer.drain()
        writer.close()

    other = await asyncio.start_server(answer, "127.0.0.1", 0)
    gateway = Gateway(other.sockets[0].getsockname()[1], "gw")
    with pytest.raises(NotAControlServer, match="text/html"):
        await gateway.client.login("k")
    await gateway.stop()
    other.close()
    await other.wait_closed()
