"""A scripted control server on the real server machine, reached through `MemoryDialer`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from appliance.api.testing import VirtualTime, settle
from appliance.crypto.x25519 import clamp, public_key
from appliance.netmap.client import ControlClient, ControlSettings
from appliance.netmap.login import NodeKeys
from appliance.ports.events import EventBus
from appliance.ports.randomness import SeededRandomness
from appliance.ports.streams import MemoryDialer, MemoryStream
from appliance.proto.control import messages as wire
from appliance.proto.control.mapstream import MapFramer
from appliance.proto.control.tunnel import ServerTunnel
from appliance.proto.control.tunnel_events import RequestReceived, StreamFailed, TunnelFailed
from appliance.proto.control.upgrade import ACCEPTED, encode_key_response, parse_upgrade
from appliance.proto.http1.head import encode_response, parse_request_head
from appliance.types.events import BackendStateChanged, HealthChanged, NetmapChanged
from appliance.types.keys import ChallengePublicKey, MachinePrivateKey, NodePrivateKey

HOST = "control.example"
PORT = 8080
URL = f"http://{HOST}:{PORT}"
ANY_PORT = wire.PortRange(first=0, last=65535)
ACCEPT = wire.RegisterResponse(
    login=wire.Login(id=1, login_name="ann@example.org", display_name="Ann"), machine_authorized=True
)


def node(number: int, **fields: Any) -> wire.Node:
    values: dict[str, Any] = {
        "id": number,
        "stable_id": f"n{number}",
        "name": f"node{number}.net.example.",
        "user": 1,
        "key": f"nodekey:{number:064x}",
        "addresses": [f"100.64.{number >> 8}.{number & 255}/32"],
        "endpoints": [],
        "online": True,
        "machine_authorized": True,
        **fields,
    }
    return wire.Node(**values)


@dataclass
class OpenMap:
    """A map stream as the server sees it."""

    server: ScriptedControl
    tunnel: ServerTunnel
    stream: MemoryStream
    stream_id: int
    request: wire.MapRequest
    ended: bool = False

    def send(self, message: wire.MapResponse) -> None:
        self.send_bytes(self.server.framer.frame(wire.encode(message)))

    def send_bytes(self, data: bytes) -> None:
        self.tunnel.send_body(self.stream_id, data)
        self.stream.write(self.tunnel.data_to_send())

    def end(self) -> None:
        self.tunnel.send_body(self.stream_id, b"", end=True)
        self.stream.write(self.tunnel.data_to_send())


class ScriptedControl:
    """`on_register` and `on_lite` give (status, body); map streams wait in `maps`."""

    def __init__(self) -> None:
        self.machine = MachinePrivateKey(clamp(bytes(range(32))))
        self.framer = MapFramer(compress=True)
        self.registers: list[wire.RegisterRequest] = []
        self.lites: list[wire.MapRequest] = []
        self.posts: list[tuple[str, str, bytes]] = []
        self.maps: list[OpenMap] = []
        self.streams: list[MemoryStream] = []
        self.answers: list[tuple[int, Any]] = []
        self.lite_answers: list[int] = []
        self.map_answers: list[tuple[int, str]] = []
        self.key_answer: bytes | None = None
        self.first: Callable[[OpenMap], None] | None = None
        self.silent = False

    async def serve(self, stream: MemoryStream) -> None:
        buffer = bytearray()
        while (parsed := parse_request_head(buffer)) is None:
            data = await stream.read()
            if not data:
                return
            buffer += data
        head, size = parsed
        if head.path == "/key":
            answer = self.key_answer
            if answer is None:
                answer = encode_response(200, encode_key_response(public_key(self.machine)), "application/json")
            stream.write(answer)
            stream.close()
            return
        if self.silent:
            return
        self.streams.append(stream)
        challenge = ChallengePublicKey(bytes(32))
        tunnel = ServerTunnel(self.machine, parse_upgrade(head), ephemeral_seed=bytes(32), challenge=challenge)
        stream.write(ACCEPTED + tunnel.data_to_send())
        tunnel.receive_data(bytes(buffer[size:]))
        while not tunnel.failed:
            self._take(tunnel, stream)
            stream.write(tunnel.data_to_send())
            data = await stream.read()
            if not data:
                return
            tunnel.receive_data(data)
        stream.close()

    def _take(self, tunnel: ServerTunnel, stream: MemoryStream) -> None:
        while (event := tunnel.next_event()) is not None:
            match event:
                case RequestReceived(stream_id, _, "/machine/register", _, body):
                    self.registers.append(wire.decode(wire.RegisterRequest, body))
                    status, answer = self.answers.pop(0) if self.answers else (200, ACCEPT)
                    if answer is not None:
                        data = answer if isinstance(answer, bytes) else wire.encode(answer)
                        tunnel.respond(stream_id, status, data)
                case RequestReceived(stream_id, _, "/machine/map", _, body):
                    self._map(tunnel, stream, stream_id, wire.decode(wire.MapRequest, body))
                case RequestReceived(stream_id, method, path, _, body):
                    self.posts.append((method, path, body))
                    tunnel.respond(stream_id, 200, b"")
                case StreamFailed(stream_id, _):
                    for each in self.maps:
                        each.ended = each.ended or (each.tunnel is tunnel and each.stream_id == stream_id)
                case TunnelFailed():
                    for each in self.maps:
                        each.ended = each.ended or each.tunnel is tunnel
                case _:
                    pass

    def _map(self, tunnel: ServerTunnel, stream: MemoryStream, stream_id: int, request: wire.MapRequest) -> None:
        if not request.stream:
            self.lites.append(request)
            tunnel.respond(stream_id, self.lite_answers.pop(0) if self.lite_answers else 200, b"")
            return
        if self.map_answers:
            status, text = self.map_answers.pop(0)
            tunnel.respond(stream_id, status, text.encode(), "text/plain")
            return
        tunnel.start_response(stream_id, 200, ())
        opened = OpenMap(self, tunnel, stream, stream_id, request)
        self.maps.append(opened)
        if self.first is not None:
            self.first(opened)


@dataclass
class Lab:
    server: ScriptedControl
    dialer: MemoryDialer
    time: VirtualTime
    bus: EventBus
    saved: list[NodeKeys] = field(default_factory=list)
    diffs: list[Any] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    health: list[HealthChanged] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    clients: list[ControlClient] = field(default_factory=list)
    made: int = 0

    def make_keys(self) -> NodeKeys:
        self.made += 1
        private = NodePrivateKey(clamp(bytes([self.made]) * 32))
        return NodeKeys(private, public_key(private))

    def client(
        self, keys: NodeKeys | None = None, *, url: str = f"http://{HOST}:{PORT}", **settings: Any
    ) -> ControlClient:
        made = ControlClient(
            ControlSettings(
                url=url,
                machine_key=MachinePrivateKey(clamp(b"m" * 32)),
                make_keys=self.make_keys,
                save_keys=self.saved.append,
                **settings,
            ),
            dialer=self.dialer,
            clock=self.time,
            randomness=SeededRandomness(7),
            bus=self.bus,
            keys=keys,
            hostinfo=wire.Hostinfo(os="linux", hostname="gw", backend_log_id="0" * 64),
            sleep=self.time.sleep,
        )
        self.clients.append(made)
        return made

    async def run(self, client: ControlClient) -> None:
        self.tasks.append(asyncio.ensure_future(client.run()))
        await settle()

    async def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(200):
            if condition():
                return
            await settle()
        raise AssertionError("the condition did not come true")


@pytest.fixture
async def lab() -> Any:
    server, dialer, bus = ScriptedControl(), MemoryDialer(), EventBus()
    dialer.servers[HOST, PORT] = server.serve
    made = Lab(server, dialer, VirtualTime(), bus)
    bus.subscribe(NetmapChanged, lambda event: made.diffs.append(event.diff))
    bus.subscribe(BackendStateChanged, lambda event: made.states.append(str(event.state)))
    bus.subscribe(HealthChanged, made.health.append)
    yield made
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)
    for client in made.clients:
        await client.close()
    for stream in server.streams:
        stream.close()
    await settle()


@pytest.fixture
def full_map() -> wire.MapResponse:
    return wire.MapResponse(
        node=node(1, tags=["tag:gw"]),
        peers=[node(2), node(3, allowed_ips=["100.64.0.3/32", "192.168.20.0/24"])],
        domain="net.example",
        packet_filters={
            "base": [wire.FilterRule(src_ips=["*"], dst_ports=[wire.NetPortRange(ip="*", ports=ANY_PORT)])]
        },
        user_profiles=[wire.UserProfile(id=1, login_name="ann@example.org", display_name="Ann")],
        derp_map=wire.DerpMap(regions={"1": wire.DerpRegion(region_id=1, region_code="a", region_name="A", nodes=[])}),
    )
