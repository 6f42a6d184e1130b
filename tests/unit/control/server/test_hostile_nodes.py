"""Nodes that never read, ask without end, send too much, replay or lie: they harm nobody and stay in their bounds.

Every case runs a whole server on loopback; `bystander` is the node that must not notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance.crypto.x25519 import public_key
from appliance.proto.control import messages as wire
from appliance.proto.control.http2 import MAX_REQUEST_BODY
from appliance.proto.control.tunnel import ClientTunnel
from appliance.proto.control.tunnel_events import ResponseStarted
from appliance.proto.noise.handshake import Initiator
from appliance.types.addresses import AddrPort
from control.noise.connection import MAX_UNREAD_BYTES, WRITE_HIGH_BYTES
from control.noise.upgrade import MAX_TUNNELS_PER_MACHINE
from control.server.app import RunningServer, running
from control.server.settings import ServerSettings
from control.service.actor import SYSTEM
from tests.lab.control_node import VERSION, ConnectionEnded, ControlNode, server_key

pytestmark = [pytest.mark.timeout(60)]

PROMPT_S = 3.0
"""A bystander's request may take so long on a busy machine; alone it takes a few milliseconds."""


@dataclass
class World:
    server: RunningServer
    auth_key: str

    async def node(self, name: str, **fields: Any) -> ControlNode:
        port = self.server.port
        node = ControlNode("127.0.0.1", port, await server_key("127.0.0.1", port), name, **fields)
        await node.connect()
        return node

    async def joined(self, name: str) -> ControlNode:
        node = await self.node(name)
        response = await node.register(self.auth_key)
        assert response.machine_authorized, response.error
        return node

    async def again(self, node: ControlNode) -> ControlNode:
        """Another connection of the same node."""
        return await self.node(node.name, machine=node.machine, node=node.node)

    def count(self, name: str) -> int:
        return self.server.service.counters.snapshot()["noise"].get(name, 0)

    def record(self, name: str) -> Any:
        return self.server.service.view().node_by_name(name)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    settings = ServerSettings(
        data_dir=tmp_path, listen=AddrPort("127.0.0.1", 0), derp_host=None, tls_fallback=None, domain="mesh.test"
    )
    async with running(settings) as server:
        await server.service.users.create(SYSTEM, "demo")
        _, secret = await server.service.keys.create(SYSTEM, user="demo", reusable=True)
        yield World(server, secret)


@pytest.fixture
async def bystander(world: World) -> AsyncIterator[ControlNode]:
    node = await world.joined("bystander")
    yield node
    node.close()


async def is_prompt(node: ControlNode) -> None:
    started = time.monotonic()
    assert (await node.map_once()).node is not None
    assert time.monotonic() - started < PROMPT_S


def stop_reading(node: ControlNode) -> socket.socket:
    """The raw socket of a node that takes nothing any more, with a small buffer."""
    node._writer.transport.pause_reading()
    found: socket.socket = node._writer.get_extra_info("socket")
    return found


async def until_it_ends(node: ControlNode) -> None:
    while True:
        await node._event()


def transports(world: World) -> list[Any]:
    noise = world.server.service.counters._sources["noise"].__closure__
    assert noise is not None
    return [connection._transport for connection in noise[0].cell_contents._open if connection._transport is not None]


def unread(world: World) -> int:
    """What the fullest connection holds for a peer that does not read."""
    return max((transport.get_write_buffer_size() for transport in transports(world)), default=0)


async def test_ok__a_node_that_never_reads_costs_no_more_than_its_buffers(world: World, bystander: ControlNode) -> None:
    silent = await world.joined("silent")
    request = wire.encode(silent.map_request(stream=True))
    silent._tunnel.request("POST", "/machine/map", request)
    silent._flush()
    while len(world.server.hub) < 1:
        await asyncio.sleep(0.01)
    stop_reading(silent)
    for number in range(300):
        endpoints = [f"192.0.2.{number % 250 + 1}:{port}" for port in range(1000, 1060)]
        await bystander.update(endpoints=endpoints, endpoint_types=[1] * len(endpoints))
    await is_prompt(bystander)
    assert unread(world) <= WRITE_HIGH_BYTES + MAX_UNREAD_BYTES
    silent.close()


async def test_fail__full_maps_without_end_are_refused(world: World, bystander: ControlNode) -> None:
    """Each answer is large; the asker makes no room for any."""
    hostinfo = wire.Hostinfo(hostname="big", os="linux", backend_log_id="0" * 64, device_model="x" * 60000)
    for number in range(4):
        big = await world.joined(f"big{number}")
        await big.request("/machine/map", big.map_request(omit_peers=True, hostinfo=hostinfo))
        big.close()
    greedy = await world.joined("greedy")
    request = greedy.map_request()
    request.compress = ""
    hoarder = await world.again(greedy)
    stop_reading(hoarder)
    for round_number in range(30):
        for _ in range(60):
            with contextlib.suppress(Exception):
                hoarder._tunnel.request("POST", "/machine/map", wire.encode(request))
        hoarder._flush()
        await asyncio.sleep(0.01)
        if round_number % 10 == 0:
            await is_prompt(bystander)
    assert unread(world) <= WRITE_HIGH_BYTES + 4 * MAX_UNREAD_BYTES
    greedy.close()
    hoarder.close()


async def test_fail__a_body_of_100_mb_is_refused_at_its_limit(world: World, bystander: ControlNode) -> None:
    sender = await world.joined("sender")
    body = b"x" * (100 << 20)
    sender._tunnel.request("POST", "/machine/register", body)
    del body
    sender._flush()
    async with asyncio.timeout(5):
        answer = await sender._event()
        with contextlib.suppress(ConnectionEnded):
            while not isinstance(answer, ResponseStarted):
                answer = await sender._event()
    assert isinstance(answer, ResponseStarted)
    assert answer.status == 413
    await is_prompt(bystander)
    assert MAX_REQUEST_BODY == 1 << 20
    sender.close()


async def test_fail__a_thousand_streams_end_the_tunnel_of_who_opens_them(world: World, bystander: ControlNode) -> None:
    """The limit that the server announced is ignored by a hostile client, so ours is lifted here."""
    opener = await world.joined("opener")
    import h2.settings

    http2 = opener._tunnel._http2
    assert http2 is not None
    http2._h2.remote_settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] = 10_000
    http2._h2.remote_settings.acknowledge()
    for _ in range(1000):
        opener._tunnel.request("POST", "/machine/map", b"")
        stream = http2._h2.get_next_available_stream_id()
        http2._h2.send_headers(stream, [(":method", "POST"), (":scheme", "https"), (":authority", "x"), (":path", "/")])
    opener._flush()
    async with asyncio.timeout(5):
        with pytest.raises(ConnectionEnded):
            await until_it_ends(opener)
    await is_prompt(bystander)
    opener.close()


async def test_fail__a_byte_now_and_then_ends_at_the_time_limit(tmp_path: Path) -> None:
    """A head that never ends is `tests/unit/control/server/test_front.py`; here a reader of one byte at a time."""
    settings = ServerSettings(data_dir=tmp_path, listen=AddrPort("127.0.0.1", 0), derp_host=None, tls_fallback=None)
    async with running(settings) as server:
        await server.service.users.create(SYSTEM, "demo")
        _, secret = await server.service.keys.create(SYSTEM, user="demo", reusable=True)
        world = World(server, secret)
        bystander, slow = await world.joined("bystander"), await world.joined("slow")
        slow._tunnel.request("POST", "/machine/map", wire.encode(slow.map_request(stream=True)))
        slow._flush()
        raw = stop_reading(slow)
        other = socket.socket(fileno=os.dup(raw.fileno()))
        other.setblocking(False)
        for number in range(60):
            await bystander.update(endpoints=[f"192.0.2.1:{number + 1}"], endpoint_types=[1])
            with contextlib.suppress(BlockingIOError):
                other.recv(1)
        await is_prompt(bystander)
        assert unread(world) <= WRITE_HIGH_BYTES + MAX_UNREAD_BYTES
        other.close()
        slow.close()
        bystander.close()


async def test_fail__a_recorded_connection_does_nothing_again(world: World, bystander: ControlNode) -> None:
    """Same first flight and same requests, byte by byte: the server's fresh key makes them garbage."""
    victim = await world.joined("victim")
    seed = os.urandom(32)
    tunnel = ClientTunnel("control", Initiator(victim.machine, victim.key, version=VERSION, ephemeral_seed=seed))
    tunnel.request("POST", "/machine/map", wire.encode(victim.map_request(omit_peers=True, endpoints=["192.0.2.9:9"])))
    reader, writer = await asyncio.open_connection("127.0.0.1", world.server.port)
    sent = [tunnel.data_to_send()]
    writer.write(sent[0])
    while not world.record("victim").endpoints:
        async with asyncio.timeout(5):
            tunnel.receive_data(await reader.read(65536))
        sent.append(tunnel.data_to_send())
        writer.write(sent[-1])
        await asyncio.sleep(0.02)
    writer.transport.abort()
    await victim.update(endpoints=["192.0.2.10:10"], endpoint_types=[1])
    before, streams = world.record("victim"), len(world.server.hub)
    for _ in range(MAX_TUNNELS_PER_MACHINE + 4):
        _, replay = await asyncio.open_connection("127.0.0.1", world.server.port)
        for part in sent:
            replay.write(part)
            await asyncio.sleep(0.005)
        replay.transport.abort()
    assert (world.record("victim").endpoints, len(world.server.hub)) == (before.endpoints, streams)
    assert world.count("tunnels_over_limit") == 0  # a recording does not count as the victim's tunnels
    await is_prompt(victim)
    victim.close()


async def test_fail__one_machine_holds_so_many_tunnels_and_no_more(world: World, bystander: ControlNode) -> None:
    node = await world.joined("hoarder")
    held = [await world.again(node) for _ in range(MAX_TUNNELS_PER_MACHINE + 3)]
    for one in held:
        assert (await one.map_once()).node is not None
    assert world.count("tunnels_over_limit") == 4
    with pytest.raises(ConnectionEnded):
        await held[0].map_once()
    await is_prompt(held[-1])
    await is_prompt(bystander)
    for one in (node, *held):
        one.close()


async def test_fail__lies_in_hostinfo_change_nothing_but_the_liar(world: World, bystander: ControlNode) -> None:
    liar = await world.joined("liar")
    own = world.record("bystander")
    lies = wire.Hostinfo(
        hostname="bystander",
        os="linux\n\x1b[31m",
        backend_log_id="0" * 64,
        request_tags=["tag:admin"],
        routable_ips=["0.0.0.0/0", f"{own.ipv4}/32", "10.0.0.0/8", "nonsense", *[f"10.{n}.0.0/16" for n in range(250)]]
        * 40,
    )
    status, _ = await liar.ask("POST", "/machine/map", liar.map_request(omit_peers=True, hostinfo=lies))
    assert status in (200, 400)
    found = next(node for node in world.server.service.view().nodes.values() if node.node_key == public_key(liar.node))
    assert found.given_name != "bystander"
    assert world.record("bystander").node_key == own.node_key
    assert found.tags == ()
    assert found.served_routes == ()
    assert len(found.advertised_routes) <= 300
    seen = {peer.name: peer for peer in (await bystander.map_once()).peers}
    (peer,) = seen.values()
    assert peer.allowed_ips in (None, peer.addresses)
    endless = wire.Hostinfo(hostname="liar", os="x" * 200_000, backend_log_id="0" * 64)
    await liar.ask("POST", "/machine/map", liar.map_request(omit_peers=True, hostinfo=endless))
    (peer,) = (await bystander.map_once()).peers
    assert peer.hostinfo is None or len(peer.hostinfo.os) < 1000
    liar.close()


async def test_fail__a_node_cannot_act_as_another(world: World, bystander: ControlNode) -> None:
    """Registration, rotation, log-out, routes and streams with a node key that is not its own."""
    before = world.record("bystander")
    thief = await world.node("thief", node=bystander.node)
    for auth_key in (world.auth_key, ""):
        auth = wire.Auth(auth_key=auth_key) if auth_key else None
        request = wire.RegisterRequest(version=VERSION, node_key=thief.node_key, auth=auth, hostinfo=thief.hostinfo())
        assert wire.decode(wire.RegisterResponse, await thief.request("/machine/register", request)).error
    log_out = wire.RegisterRequest(version=VERSION, node_key=thief.node_key, expiry=wire.LOGOUT_EXPIRY)
    await thief.ask("POST", "/machine/register", log_out)
    for fields in ({"stream": True}, {"omit_peers": True, "endpoints": ["192.0.2.66:66"]}, {}):
        assert (await thief.ask("POST", "/machine/map", thief.map_request(**fields)))[0] == 404
    rotation = await world.node("rotator")
    request = wire.RegisterRequest(
        version=VERSION,
        node_key=rotation.node_key,
        old_node_key=bystander.node_key,
        hostinfo=rotation.hostinfo(),
    )
    answer = wire.decode(wire.RegisterResponse, await rotation.request("/machine/register", request))
    assert not answer.machine_authorized
    assert answer.auth_url
    tagger = await world.node("tagger")
    tags = wire.Hostinfo(hostname="tagger", os="linux", backend_log_id="0" * 64, request_tags=["tag:server"])
    auth = wire.Auth(auth_key=world.auth_key)
    request = wire.RegisterRequest(version=VERSION, node_key=tagger.node_key, auth=auth, hostinfo=tags)
    answer = wire.decode(wire.RegisterResponse, await tagger.request("/machine/register", request))
    assert "tag:server" in answer.error
    after = world.record("bystander")
    assert (after.node_key, after.machine_key, after.endpoints, after.key_expiry) == (
        before.node_key,
        before.machine_key,
        before.endpoints,
        before.key_expiry,
    )
    assert len(world.server.service.view().nodes) == 1
    await is_prompt(bystander)
    for node in (thief, rotation, tagger):
        node.close()
