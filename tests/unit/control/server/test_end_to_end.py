"""The server on loopback against a client made of our own machines: key, upgrade, register, map, deltas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from appliance.crypto.x25519 import clamp, public_key
from appliance.ports.clock import SystemClock
from appliance.ports.randomness import SeededRandomness
from appliance.proto.control import messages as wire
from appliance.proto.control.delta import Applied, WireNetmap
from appliance.proto.control.mapstream import MapStreamReader
from appliance.proto.control.tunnel import ClientTunnel
from appliance.proto.control.tunnel_events import (
    BodyReceived,
    ResponseStarted,
    StreamEnded,
    StreamFailed,
    TunnelEvent,
    TunnelFailed,
)
from appliance.proto.control.upgrade import key_target, parse_key_response
from appliance.proto.http1.head import encode_request_head, parse_response_head
from appliance.proto.noise.handshake import Initiator
from appliance.types.keys import DiscoPublicKey, MachinePrivateKey, MachinePublicKey, NodePrivateKey
from control.noise.upgrade import NoiseUpgrade
from control.server.endpoints import add_plain_routes
from control.server.front import Front
from control.server.machine import MachineApi
from control.server.routes import Routes
from control.server.sessions import SessionHub
from control.server.tasks import RequestTasks
from control.service.actor import SYSTEM
from control.service.service import ControlService, open_service
from control.service.settings import ServiceSettings

SERVER_KEY = MachinePrivateKey(clamp(bytes(range(32))))
RANDOM = SeededRandomness("end to end")


@dataclass
class Server:
    service: ControlService
    hub: SessionHub
    front: Front
    noise: NoiseUpgrade
    port: int

    async def pre_auth_key(self, **options: Any) -> str:
        user = next(iter(self.service.view().users.values()), None)
        if user is None:
            user = await self.service.users.create(SYSTEM, "demo")
        _, secret = await self.service.keys.create(SYSTEM, user=user.name, **options)
        return secret


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Server]:
    clock = SystemClock()
    settings = ServiceSettings(domain="mesh.test")
    service = await open_service(folder, settings, clock=clock, randomness=SeededRandomness(1))
    async with RequestTasks() as tasks:
        hub = SessionHub(service, clock, SeededRandomness(2))
        noise = NoiseUpgrade(SERVER_KEY, MachineApi(service, hub), tasks.spawn, SeededRandomness(3))
        routes = Routes()
        add_plain_routes(routes, noise, service)
        routes.raw["/ts2021"] = noise.take
        front = Front(routes, tasks.spawn)
        listener = await front.listen("127.0.0.1", 0)
        try:
            yield Server(service, hub, front, noise, listener.sockets[0].getsockname()[1])
        finally:
            listener.close()
            front.close()
            await noise.close()
            hub.close()
            await service.close()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path) as one:
        yield one


@dataclass
class Reply:
    status: int = 0
    body: bytes = b""


@dataclass
class Client:
    """A node: its keys, one tunnel, one map stream."""

    server: Server
    name: str = "gw"
    machine: MachinePrivateKey = field(default_factory=lambda: MachinePrivateKey(clamp(RANDOM.bytes(32))))
    node: NodePrivateKey = field(default_factory=lambda: NodePrivateKey(clamp(RANDOM.bytes(32))))
    netmap: WireNetmap = field(default_factory=WireNetmap)

    async def connect(self) -> None:
        key = await self.fetch_key()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        initiator = Initiator(self.machine, key, version=130, ephemeral_seed=RANDOM.bytes(32))
        self.tunnel = ClientTunnel("127.0.0.1", initiator)
        self.writer.write(self.tunnel.data_to_send())

    async def fetch_key(self) -> MachinePublicKey:
        status, body = await plain(self.server.port, "GET", key_target())
        assert status == 200
        return parse_key_response(body)

    async def event(self) -> TunnelEvent:
        while (event := self.tunnel.next_event()) is None:
            data = await self.reader.read(65536)
            if data:
                self.tunnel.receive_data(data)
            else:
                self.tunnel.receive_eof()
            self.flush()
        return event

    def flush(self) -> None:
        self.writer.write(self.tunnel.data_to_send())

    async def request(self, method: str, path: str, message: Any = None) -> Reply:
        stream = self.tunnel.request(method, path, wire.encode(message) if message is not None else b"")
        self.flush()
        reply = Reply()
        while True:
            match await self.event():
                case ResponseStarted(stream_id=found, status=status) if found == stream:
                    reply.status = status
                case BodyReceived(stream_id=found, data=data) if found == stream:
                    reply.body += data
                case StreamEnded(stream_id=found) if found == stream:
                    return reply
                case StreamFailed() | TunnelFailed() as event:
                    raise AssertionError(event)
                case BodyReceived(data=data):
                    self.map_reader.receive_data(data)

    async def register(self, auth_key: str = "", **fields: Any) -> wire.RegisterResponse:
        auth = wire.Auth(auth_key=auth_key) if auth_key else None
        message = wire.RegisterRequest(
            version=130,
            node_key=str(public_key(self.node)),
            auth=auth,
            hostinfo=wire.Hostinfo(hostname=self.name, os="linux", backend_log_id="0" * 64),
            **fields,
        )
        reply = await self.request("POST", "/machine/register", message)
        assert reply.status == 200, reply.body
        return wire.decode(wire.RegisterResponse, reply.body)

    def map_request(self, **fields: Any) -> wire.MapRequest:
        return wire.MapRequest(
            version=130, keep_alive=True, compress="zstd", node_key=str(public_key(self.node)), **fields
        )

    async def open_map(self) -> Applied:
        self.map_reader = MapStreamReader(compressed=True)
        self.netmap.begin_stream()
        self.stream = self.tunnel.request("POST", "/machine/map", wire.encode(self.map_request(stream=True)))
        self.flush()
        return await self.next_map()

    async def next_map(self) -> Applied:
        while True:
            message = self.map_reader.next_message()
            if message is not None:
                self.last = wire.decode(wire.MapResponse, message)
                return self.netmap.apply(self.last, self.server.service.wall_now())
            match await self.event():
                case ResponseStarted(status=status):
                    assert status == 200
                case BodyReceived(data=data):
                    self.map_reader.receive_data(data)
                case StreamEnded() | StreamFailed() | TunnelFailed() as event:
                    raise EOFError(event)

    async def until(self, condition: Any) -> None:
        """Take map messages until the netmap is as wished."""
        while not condition(self.netmap):
            await self.next_map()

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def plain(port: int, method: str, target: str, body: bytes = b"") -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    headers = (("Host", "x"), ("Connection", "close"), ("Content-Length", str(len(body))))
    writer.write(encode_request_head(method, target, headers) + body)
    data = await reader.read()
    writer.close()
    await writer.wait_closed()
    parsed = parse_response_head(data)
    assert parsed is not None
    return parsed[0].status, data[parsed[1] :]


async def joined(server: Server, name: str) -> Client:
    client = Client(server, name)
    await client.connect()
    response = await client.register(await server.pre_auth_key())
    assert response.error == ""
    assert response.machine_authorized
    return client


async def test_ok__two_nodes_learn_of_each_other(server: Server) -> None:
    first = await joined(server, "alpha")
    applied = await first.open_map()
    assert applied.full
    assert first.netmap.node is not None
    assert first.netmap.node.name == "alpha.mesh.test."
    assert first.netmap.domain == "mesh.test"
    assert first.netmap.dns_config.proxied
    assert [rule.src_ips for rule in first.netmap.packet_filter()] == [["*"]]
    assert first.last.debug == wire.Debug(disable_log_tail=True)
    assert [profile.id for profile in first.last.user_profiles] == [first.netmap.node.user]

    second = await joined(server, "beta")
    await second.open_map()
    assert [peer.name for peer in second.netmap.peers.values()] == ["alpha.mesh.test."]
    await first.until(lambda netmap: any(peer.name == "beta.mesh.test." for peer in netmap.peers.values()))
    (beta,) = first.netmap.peers.values()
    assert beta.key == str(public_key(second.node))
    await first.until(lambda netmap: netmap.peers[beta.id].online is True)

    disco = str(DiscoPublicKey(bytes(range(32))))
    net_info = wire.NetInfo(preferred_derp=900)
    hostinfo = wire.Hostinfo(hostname="beta", os="linux", backend_log_id="0" * 64, net_info=net_info)
    lite = second.map_request(
        omit_peers=True, disco_key=disco, endpoints=["192.0.2.1:41641"], endpoint_types=[2], hostinfo=hostinfo
    )
    assert (await second.request("POST", "/machine/map", lite)).status == 200
    await first.until(lambda netmap: netmap.peers[beta.id].endpoints == ["192.0.2.1:41641"])
    await first.until(lambda netmap: netmap.peers[beta.id].home_derp == 900)
    assert first.netmap.peers[beta.id].disco_key == disco
    assert first.last.peers_changed == []
    assert [patch.node_id for patch in first.last.peers_changed_patch] == [beta.id]
    await first.close()
    await second.close()


async def test_ok__removed_node_leaves_its_peers_and_its_stream_ends(server: Server) -> None:
    first, second = await joined(server, "alpha"), await joined(server, "beta")
    await first.open_map()
    await second.open_map()
    assert second.netmap.node is not None
    beta = second.netmap.node.id
    await first.until(lambda netmap: beta in netmap.peers)
    await server.service.nodes.delete(SYSTEM, "beta")
    await first.until(lambda netmap: beta not in netmap.peers)
    with pytest.raises(EOFError):
        await second.until(lambda netmap: False)
    assert second.netmap.node.key_expiry  # told to log in again, instead of 404 for ever
    await first.close()
    await second.close()


async def test_ok__newest_stream_wins_and_the_node_stays_online(server: Server) -> None:
    first = await joined(server, "alpha")
    await first.open_map()
    again = Client(server, "alpha", machine=first.machine, node=first.node)
    await again.connect()
    await again.open_map()
    with pytest.raises(EOFError):
        await first.until(lambda netmap: False)
    assert len(server.hub) == 1
    assert again.netmap.node is not None
    assert server.service.view().is_online(again.netmap.node.id)  # type: ignore[arg-type]
    await first.close()
    await again.close()


async def test_ok__one_shot_map_and_whoami(server: Server) -> None:
    client = await joined(server, "alpha")
    reply = await client.request("POST", "/machine/map", client.map_request())
    reader = MapStreamReader(compressed=True)
    reader.receive_data(reply.body)
    message = reader.next_message()
    assert message is not None
    assert wire.decode(wire.MapResponse, message).node is not None
    assert len(server.hub) == 0
    assert str(public_key(client.machine)).encode() in (await client.request("GET", "/machine/whoami")).body
    await client.close()


async def test_fail__foreign_or_unknown_node_key(server: Server) -> None:
    owner = await joined(server, "alpha")
    thief = Client(server, "thief", node=owner.node)
    await thief.connect()
    for stream in (True, False):
        reply = await thief.request("POST", "/machine/map", thief.map_request(stream=stream))
        assert reply.status == 404
    unknown = Client(server, "unknown")
    await unknown.connect()
    assert (await unknown.request("POST", "/machine/map", unknown.map_request(stream=True))).status == 404
    for client in (owner, thief, unknown):
        await client.close()


@pytest.mark.parametrize(
    ("method", "path", "message", "status"),
    [
        ("POST", "/machine/map", wire.MapRequest(version=79, node_key="nodekey:" + "1" * 64), 400),
        ("POST", "/machine/map", wire.MapRequest(version=130, node_key="nodekey:1"), 400),
        ("POST", "/machine/register", wire.RegisterRequest(version=130), 400),
        ("POST", "/machine/webclient/init/1/to/2", None, 501),
        ("GET", "/machine/tka/sync/offer", None, 501),
        ("GET", "/machine/map", None, 405),
        ("GET", "/other", None, 404),
    ],
)
async def test_fail__refused_requests_leave_the_tunnel_alive(
    server: Server, method: str, path: str, message: Any, status: int
) -> None:
    client = Client(server)
    await client.connect()
    assert (await client.request(method, path, message)).status == status
    assert (await client.request("GET", "/machine/whoami")).status == 200
    assert server.noise.counters["tunnel_opened"] == 1
    assert sum(count for name, count in server.noise.counters.items() if name.startswith("request_")) == 1
    await client.close()


async def test_fail__bad_pre_auth_key(server: Server) -> None:
    client = Client(server)
    await client.connect()
    assert (await client.register("tskey-auth-wrong")).error
    await client.close()


async def test_ok__plain_endpoints(server: Server) -> None:
    client = await joined(server, "alpha")
    body = b'{"NodePublic":"%s","Source":"192.0.2.1"}' % str(public_key(client.node)).encode()
    assert await plain(server.port, "POST", "/verify", body) == (200, b'{"Allow":true}')
    body = b'{"NodePublic":"nodekey:%s"}' % (b"ab" * 32)
    assert await plain(server.port, "POST", "/verify", body) == (200, b'{"Allow":false}')
    assert (await plain(server.port, "POST", "/verify", b"junk"))[0] == 400
    assert (await plain(server.port, "GET", "/key"))[0] == 400
    assert (await plain(server.port, "GET", "/key?v=x"))[0] == 400
    assert (await plain(server.port, "GET", "/"))[0] == 200
    assert (await plain(server.port, "GET", "/nothing"))[0] == 404
    assert (await plain(server.port, "POST", "/key"))[0] == 405
    assert (await plain(server.port, "GET", "/ts2021"))[0] == 405
    assert (await plain(server.port, "POST", "/ts2021"))[0] == 400
    await client.close()


async def test_fail__stale_server_key_just_closes(server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    other = MachinePrivateKey(clamp(bytes(range(9, 41))))
    machine = MachinePrivateKey(clamp(bytes(range(3, 35))))
    tunnel = ClientTunnel("x", Initiator(machine, public_key(other), version=130, ephemeral_seed=bytes(32)))
    writer.write(tunnel.data_to_send())
    tunnel.receive_data(await reader.read())
    tunnel.receive_eof()
    assert tunnel.failed
    writer.close()
    await writer.wait_closed()
