"""Two servers of one region over loopback: clients of either reach those of the other (derp spec section 4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance.drivers.streams import SocketDialer
from appliance.ports.clock import SystemClock, VirtualClock
from appliance.ports.randomness import SeededRandomness, SystemRandomness
from appliance.proto.derp.client import Connected, PacketsReceived, PeerArrived, PeerLeft
from appliance.proto.derp.frames import ClosePeer, ForwardPacket, encode_frame
from appliance.proto.disco.packet import MAGIC
from appliance.types.errors import ConfigError
from appliance.types.keys import DerpMeshKey, DerpPrivateKey, NodePublicKey
from control.derp.mesh import MeshLink, MeshPeer, parse_mesh_peer
from control.derp.server import DerpServer
from control.tls import ServerTls
from tests.unit.control.derp.conftest import Relaying

MESH_KEY, WRONG_KEY = DerpMeshKey(b"m" * 32), DerpMeshKey(b"w" * 32)
DISCO = MAGIC + bytes(56)


class Region:
    """Servers a and b; `links` are the mesh's, one in each direction."""

    def __init__(self) -> None:
        self.sides: list[Relaying] = []
        self.links: list[MeshLink] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def server(self, number: int, mesh_key: DerpMeshKey | None = MESH_KEY) -> Relaying:
        clock = VirtualClock()
        private = DerpPrivateKey(bytes([0x20 + number]) * 32)
        server = DerpServer(private, SeededRandomness(number), clock, mesh_key=mesh_key)
        side = Relaying(server, clock, await server.listen("127.0.0.1", 0))
        side.private = private  # type: ignore[attr-defined]  # for the links
        self.sides.append(side)
        return side

    def link(self, source: Any, target: Any, key: DerpMeshKey = MESH_KEY) -> MeshLink:
        peer = MeshPeer("127.0.0.1", target.port, tls=False)
        made = MeshLink(peer, source.server, SocketDialer(mark=0), source.private, key, retry_s=0.01)
        self.links.append(made)
        self.tasks.append(asyncio.ensure_future(made.run()))
        return made

    async def until(self, condition: Any) -> None:
        while not condition():
            await asyncio.sleep(0.001)

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for side in self.sides:
            for peer in side.peers:
                peer.close()
            await side.server.stop()


@pytest.fixture
async def region() -> AsyncIterator[Region]:
    made = Region()
    yield made
    await made.close()


@pytest.fixture
async def pair(region: Region) -> tuple[Region, Any, Any]:
    a, b = await region.server(1), await region.server(2)
    links = region.link(a, b), region.link(b, a)
    await region.until(lambda: all(link.is_up for link in links))
    return region, a, b


async def test_ok__packets_cross_both_ways_and_the_answer_finds_back(pair: Any) -> None:
    region, a, b = pair
    before = await a.connect(1)
    after = await b.connect(2)
    await region.until(lambda: a.server.relay.remote_keys and b.server.relay.remote_keys)
    await before.send(after.key, b"there")
    assert await after.event() == PacketsReceived(before.key, (b"there",))
    await after.send(before.key, b"back")
    assert await before.event() == PacketsReceived(after.key, (b"back",))
    metrics = a.server.metrics()
    assert (metrics["packets_forwarded_out"], metrics["packets_forwarded_in"]) == (1, 1)


async def test_ok__a_client_that_leaves_is_told_to_those_who_heard_it(pair: Any) -> None:
    region, a, b = pair
    one, two = await a.connect(1), await b.connect(2)
    await region.until(lambda: a.server.relay.remote_keys and b.server.relay.remote_keys)
    await one.send(two.key, b"x")
    assert await two.event() == PacketsReceived(one.key, (b"x",))
    one.close()
    assert await two.event() == PeerLeft(one.key, not_here=False)
    await region.until(lambda: not b.server.relay.remote_keys)


async def test_ok__a_lost_server_is_forgotten_and_found_again(pair: Any) -> None:
    region, a, b = pair
    two = await b.connect(2)
    await region.until(lambda: a.server.relay.remote_keys == 1)
    for connection in list(b.server._connections):
        if connection.is_mesh:
            connection.abort("test")
    await region.until(lambda: not a.server.relay.remote_keys)
    await region.until(lambda: a.server.relay.remote_keys == 1)
    one = await a.connect(1)
    await one.send(two.key, b"again")
    assert await two.event() == PacketsReceived(one.key, (b"again",))


async def test_ok__local_clients_come_first_and_packets_go_one_hop_only(pair: Any) -> None:
    region, a, b = pair
    await b.connect(3)
    await region.until(lambda: a.server.relay.remote_keys == 1)
    here, sender = await a.connect(3), await a.connect(1)
    await sender.send(here.key, b"near")
    assert await here.event() == PacketsReceived(sender.key, (b"near",))
    assert a.server.metrics()["packets_forwarded_out"] == 0
    mesh = await b.dial(9)
    mesh.machine._info = type(mesh.machine._info)(mesh_key=MESH_KEY)
    assert isinstance(await mesh.event(), Connected)
    stranger = NodePublicKey(b"\x77" * 32)
    mesh.writer.write(encode_frame(ForwardPacket(sender.key, stranger, DISCO)))
    assert await mesh.event() == PeerLeft(stranger, not_here=True)
    assert b.server.metrics()['packets_dropped{reason="unknown_dest_on_fwd",kind="disco"}'] == 1


async def test_ok__a_watcher_is_told_of_everybody_and_may_close_peers(region: Region) -> None:
    a = await region.server(1)
    one = await a.connect(1)
    mesh = await a.dial(9)
    mesh.machine._info = type(mesh.machine._info)(mesh_key=MESH_KEY)
    assert isinstance(await mesh.event(), Connected)
    mesh.machine.watch()
    assert {await mesh.event(), await mesh.event()} == {PeerArrived(one.key), PeerArrived(mesh.key)}
    two = await a.connect(2)
    assert await mesh.event() == PeerArrived(two.key)
    mesh.writer.write(encode_frame(ClosePeer(two.key)))
    assert await two.ended()
    assert await mesh.event() == PeerLeft(two.key, not_here=False)


@pytest.mark.parametrize("theirs", [WRONG_KEY, None])
async def test_fail__a_wrong_mesh_key_makes_an_ordinary_client(region: Region, theirs: DerpMeshKey | None) -> None:
    a, b = await region.server(1), await region.server(2, theirs)
    region.link(a, b)
    await region.until(lambda: b.server.metrics().get('closed{reason="not_mesh"}', 0) > 1)
    assert a.server.relay.remote_keys == 0


async def test_ok__one_list_serves_all_because_a_server_leaves_itself_out(region: Region) -> None:
    a = await region.server(1)
    region.link(a, a)
    await asyncio.gather(*region.tasks)
    assert a.server.relay.remote_keys == 0


async def test_ok__servers_of_the_mesh_need_no_admission_and_no_limit(region: Region) -> None:
    a, b = await region.server(1), await region.server(2)

    async def nobody(key: NodePublicKey, ip: str) -> bool:
        return False

    b.server._admit = nobody
    link = region.link(a, b)
    await region.until(lambda: link.is_up)


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("derp2.example", MeshPeer("derp2.example", 443)),
        ("192.0.2.2:8443", MeshPeer("192.0.2.2", 8443)),
        ("[2001:db8::2]:8443#sha256-raw:" + "ab" * 32, MeshPeer("2001:db8::2", 8443, "ab" * 32)),
        ("http://10.0.0.2:3340", MeshPeer("10.0.0.2", 3340, tls=False)),
    ],
)
def test_ok__peers_as_they_are_written(text: str, peer: MeshPeer) -> None:
    assert parse_mesh_peer(text) == peer


@pytest.mark.parametrize(
    "text", ["", "https://derp2.example", "derp2.example:0", "derp2.example:99999", "a b", "x#sha256-raw:1"]
)
def test_fail__no_peers(text: str) -> None:
    with pytest.raises(ConfigError) as found:
        parse_mesh_peer(text)
    assert found.value.mend


@pytest.mark.parametrize("right", [True, False])
async def test_ok__the_mesh_key_goes_only_to_the_pinned_certificate(
    region: Region, tmp_path: Path, right: bool, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = await region.server(1), await region.server(2)
    clock, randomness = SystemClock(), SystemRandomness()
    tls = ServerTls.self_signed(tmp_path / "b.pem", ["127.0.0.1"], clock, randomness, b.server.public_key)
    port = await b.server.listen("127.0.0.1", 0, tls.context)
    pin = tls.cert_name.removeprefix("sha256-raw:") if right else "ab" * 32
    peer = parse_mesh_peer(f"127.0.0.1:{port}#sha256-raw:{pin}")
    link = MeshLink(peer, a.server, SocketDialer(mark=0), a.private, MESH_KEY, retry_s=0.01)  # type: ignore[attr-defined]  # set by the region
    region.tasks.append(asyncio.ensure_future(link.run()))
    if right:
        await region.until(lambda: link.is_up)
    else:
        await region.until(lambda: len(caplog.records) > 1)
        assert not link.is_up
        assert b.server.metrics()["accepted"] == 0
