"""The way to the other servers of a region: one connection to each, over which our clients' packets leave (spec 4).

Each server dials every other one with its own key and the mesh key, and is told who is connected there. What is known
of a server is forgotten when its connection ends.
"""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from appliance.ports.streams import TlsPolicy
from appliance.proto.derp.client import ClientEvent, Closed, Connected, DerpClient, PeerArrived, PeerLeft
from appliance.types.errors import ConfigError
from appliance.types.keys import NodePublicKey

if TYPE_CHECKING:
    from appliance.ports.streams import ByteStream, StreamDialer
    from appliance.types.keys import DerpMeshKey, DerpPrivateKey
    from control.derp.server import DerpServer

RETRY_S = 5.0
MAX_QUEUED = 4 << 20
"""Bytes that may wait toward another server; then packets for it are dropped."""
_PEER = re.compile(
    r"(?P<plain>http://)?(?:\[(?P<v6>[0-9a-fA-F:]+)\]|(?P<host>[A-Za-z0-9._-]+))(?::(?P<port>\d{1,5}))?"
    r"(?:#sha256-raw:(?P<pin>[0-9a-f]{64}))?"
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MeshPeer:
    """Another server. `pin` is the SHA-256 of its self-signed certificate, as its CertName says; `tls` False: none."""

    host: str
    port: int
    pin: str = ""
    tls: bool = True

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_mesh_peer(text: str) -> MeshPeer:
    """`derp2.example`, `192.0.2.2:8443#sha256-raw:<hex>`, `http://10.0.0.2:3340`. Raises `ConfigError`."""
    found = _PEER.fullmatch(text)
    port = int(found["port"] or (80 if found["plain"] else 443)) if found is not None else 0
    if found is None or not 0 < port <= 65535:
        mend = "write it as derp2.example or 192.0.2.2:8443#sha256-raw:HEX, as its CertName says"
        raise ConfigError(f"mesh_peers: {text!r} names no server", mend=mend)
    return MeshPeer(found["v6"] or found["host"], port, found["pin"] or "", tls=not found["plain"])


class MeshLink:
    """Implements `relay.Forwarder`. `run` works until cancelled, or until the other end turns out to be ourselves."""

    def __init__(
        self,
        peer: MeshPeer,
        server: DerpServer,
        dialer: StreamDialer,
        private_key: DerpPrivateKey,
        mesh_key: DerpMeshKey,
        *,
        ca_file: str = "",
        retry_s: float = RETRY_S,
    ) -> None:
        self.peer = peer
        self.is_up = False
        self._server = server
        self._dialer = dialer
        self._private_key = private_key
        self._mesh_key = mesh_key
        self._ca_file = ca_file
        self._retry_s = retry_s
        self._stream: ByteStream | None = None
        self._client: DerpClient | None = None
        self._flushing = False
        self._is_self = False

    async def run(self) -> None:
        while not self._is_self:
            try:
                await self._live()
            except (OSError, TimeoutError) as error:
                _log.warning("mesh server %s: %s", self.peer, error or type(error).__name__)
            finally:
                self._lost()
            if not self._is_self:
                await asyncio.sleep(self._retry_s)

    def _lost(self) -> None:
        stream, self._stream, self._client, self.is_up = self._stream, None, None, False
        if stream is not None:
            stream.close()
        self._server.relay.forget_forwarder(self)

    async def _live(self) -> None:
        """One connection from start to end. Raises OSError and `TimeoutError`."""
        clock, host = self._server.clock, self.peer.host
        tls = TlsPolicy(host, pin_sha256=self.peer.pin, ca_file=self._ca_file) if self.peer.tls else None
        stream = self._stream = await self._dialer.dial(host, self.peer.port, tls=tls)
        nonce = self._server.randomness.bytes(24)
        client = DerpClient(self._private_key, str(self.peer), nonce, clock.now(), mesh_key=self._mesh_key)
        self._client = client
        while True:
            stream.write(client.data_to_send(clock.now()))
            deadline = client.next_timer()
            async with asyncio.timeout(max(0.0, deadline - clock.now()) if deadline is not None else None):
                data = await stream.read()
            client.receive_data(data, clock.now())
            while (event := client.next_event()) is not None:
                self._handle(event, client)
            if self._is_self:
                return

    def _handle(self, event: ClientEvent, client: DerpClient) -> None:
        relay = self._server.relay
        match event:
            case Connected(server) if server == self._server.public_key:
                self._is_self = True  # one list serves all servers of the region
            case Connected():
                self.is_up = True
                client.watch()
                _log.info("mesh server %s is connected", self.peer)
            case PeerArrived(peer) if peer.raw != self._server.public_key.raw:
                relay.add_forwarder(peer.raw, self)
            case PeerLeft(peer):
                relay.remove_forwarder(peer.raw, self)
            case Closed(reason):
                raise ConnectionError(reason)
            case _:
                return

    def forward(self, source: bytes, destination: bytes, packet: bytes) -> None:
        """Packets of one turn of the loop leave together. While the other server does not read, they are dropped."""
        stream, client = self._stream, self._client
        if stream is None or client is None or not self.is_up or stream.queued_bytes() > MAX_QUEUED:
            self._server.counters.forwards_dropped += 1
            return
        client.forward(NodePublicKey(source), NodePublicKey(destination), packet)
        if not self._flushing:
            self._flushing = True
            self._server.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._stream is not None and self._client is not None:
            self._stream.write(self._client.data_to_send(self._server.clock.now()))
