"""A simulated node: our own client machines over asyncio, without tunnel, engine or daemon.

Speaks the real protocol to a real control server: key, upgrade, register, map stream, updates. For tests and benches
that need many nodes in one process.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from appliance.crypto.x25519 import clamp, public_key
from appliance.proto.control import messages as wire
from appliance.proto.control.delta import WireNetmap
from appliance.proto.control.hostinfo import Hostinfo
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
from appliance.types.keys import MachinePrivateKey, MachinePublicKey, NodePrivateKey

VERSION = 130
HEADERS = (("Host", "control"), ("Connection", "close"))


class ConnectionEnded(Exception):
    """The server went away or ended the tunnel."""


async def server_key(host: str, port: int) -> MachinePublicKey:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(encode_request_head("GET", key_target(), HEADERS))
        data = await reader.read()
    finally:
        writer.transport.abort()
    parsed = parse_response_head(data)
    if parsed is None:
        raise ConnectionEnded("no answer to /key")
    return parse_key_response(data[parsed[1] :])


@dataclass
class ControlNode:
    """One node. `connect`, `register`, then `map_once`, `update`, or `follow` for the stream."""

    host: str
    port: int
    key: MachinePublicKey
    name: str = "node"
    machine: MachinePrivateKey = field(default_factory=lambda: MachinePrivateKey(clamp(os.urandom(32))))
    node: NodePrivateKey = field(default_factory=lambda: NodePrivateKey(clamp(os.urandom(32))))
    netmap: WireNetmap = field(default_factory=WireNetmap)
    routes: list[str] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def node_key(self) -> str:
        return str(public_key(self.node))

    def hostinfo(self) -> Hostinfo:
        return Hostinfo(hostname=self.name, os="linux", backend_log_id="0" * 64, routable_ips=self.routes)

    async def connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(self.host, self.port)
        initiator = Initiator(self.machine, self.key, version=VERSION, ephemeral_seed=os.urandom(32))
        self._tunnel = ClientTunnel("control", initiator)
        self._flush()

    def close(self) -> None:
        self._writer.transport.abort()

    def _flush(self) -> None:
        data = self._tunnel.data_to_send()
        if data:
            self._writer.write(data)

    async def _event(self) -> TunnelEvent:
        """The next event. Raises `ConnectionEnded`."""
        while (event := self._tunnel.next_event()) is None:
            try:
                data = await self._reader.read(65536)
            except OSError as error:
                raise ConnectionEnded(str(error)) from error
            if not data:
                raise ConnectionEnded("the server closed the connection")
            self._tunnel.receive_data(data)
            self._flush()
        if isinstance(event, StreamFailed | TunnelFailed):
            raise ConnectionEnded(repr(event))
        return event

    async def request(self, path: str, message: Any) -> bytes:
        """Body of a 200 answer. Only while no stream is followed."""
        status, body = await self.ask("POST", path, message)
        assert status == 200, (status, body)
        return body

    async def ask(self, method: str, path: str, message: Any = None) -> tuple[int, bytes]:
        """Status and body of an answer. Only while no stream is followed."""
        stream = self._tunnel.request(method, path, b"" if message is None else wire.encode(message))
        self._flush()
        status, body = 0, bytearray()
        while True:
            match await self._event():
                case ResponseStarted(stream_id=found, status=answered) if found == stream:
                    status = answered
                case BodyReceived(stream_id=found, data=data) if found == stream:
                    body += data
                case StreamEnded(stream_id=found) if found == stream:
                    return status, bytes(body)
                case _:
                    continue

    async def register(self, auth_key: str) -> wire.RegisterResponse:
        message = wire.RegisterRequest(
            version=VERSION, node_key=self.node_key, auth=wire.Auth(auth_key=auth_key), hostinfo=self.hostinfo()
        )
        return wire.decode(wire.RegisterResponse, await self.request("/machine/register", message))

    def map_request(self, **fields: Any) -> wire.MapRequest:
        return wire.MapRequest(version=VERSION, keep_alive=True, compress="zstd", node_key=self.node_key, **fields)

    async def until(self, condition: Callable[[WireNetmap], bool]) -> float:
        """Take the followed stream's messages in the background; seconds until the netmap was as wished."""
        started = time.monotonic()
        while not condition(self.netmap):
            self._news.clear()
            await self._news.wait()
        return time.monotonic() - started

    async def map_once(self) -> wire.MapResponse:
        body = await self.request("/machine/map", self.map_request())
        reader = MapStreamReader(compressed=True)
        reader.receive_data(body)
        message = reader.next_message()
        assert message is not None
        return wire.decode(wire.MapResponse, message)

    async def update(self, **fields: Any) -> None:
        """Store endpoints, hostinfo and the like; acknowledged when this returns."""
        await self.request("/machine/map", self.map_request(omit_peers=True, hostinfo=self.hostinfo(), **fields))

    async def follow(self, received: Callable[[wire.MapResponse], None]) -> None:
        """Open the map stream and hand every message on until the connection ends."""
        reader = MapStreamReader(compressed=True)
        self.netmap.begin_stream()
        self._tunnel.request("POST", "/machine/map", wire.encode(self.map_request(stream=True)))
        self._flush()
        while True:
            event = await self._event()
            if isinstance(event, BodyReceived):
                reader.receive_data(event.data)
                while (message := reader.next_message()) is not None:
                    response = wire.decode(wire.MapResponse, message)
                    self.netmap.apply(response, datetime.now(UTC))
                    self._news.set()
                    received(response)
