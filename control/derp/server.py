"""The DERP server: admission, timers, embedding and stand-alone listening (derp spec sections 1, 3 and 12)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from asyncio import sslproto
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from appliance.crypto.hashes import equal
from appliance.crypto.x25519 import public_key
from appliance.drivers.listening import ANY_V6, Arrivals, listen_hosts
from appliance.proto.derp.handshake import ServerInfo
from appliance.proto.derp.server import ServerHandshake
from appliance.proto.derp.upgrade import UpgradeKind, upgrade_kind, wants_fast_start
from appliance.proto.http1.head import encode_response
from appliance.types.errors import ApplianceError
from appliance.types.keys import NodePublicKey
from control.derp.connection import DerpConnection
from control.derp.metrics import DerpMetrics
from control.derp.relay import PeerConnections, Relay
from control.derp.throttle import NO_LIMIT, Bucket, Rate
from control.derp.websocket import WebSocketTransport, upgrade_answer
from control.derp.wheel import TimingWheel

if TYPE_CHECKING:
    import ssl

    from appliance.ports.clock import Clock
    from appliance.ports.randomness import Randomness
    from appliance.proto.derp.server import ClientHello
    from appliance.proto.http1.head import RequestHead
    from appliance.types.keys import DerpMeshKey, DerpPrivateKey
    from control.derp.listener import HttpFront, Page

Admit = Callable[[NodePublicKey, str], Awaitable[bool]]
"""Whether a node key, seen from an IP address, may use this server."""

ADMISSION_TIMEOUT_S = 5.0
TICK_S = 0.5
STOP_GRACE_S = 1.0
RECONNECT_SPREAD_MS = 3000
RECONNECT_MS_PER_CLIENT = 2
"""Clients of a server that stops come back each at a random time, over so long for each of them, at most so long."""
RETRY_FOR_MS = 60_000
TLS_BUFFER_BYTES = 16 * 1024
BACKLOG = 4096

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DerpLimits:
    """Caps against floods: connections in all, and those that have not introduced themselves."""

    connections: int = 60_000
    unregistered: int = 8192
    unregistered_per_ip: int = 512
    accepts_per_s: float = 2000.0
    """New connections a second, a burst of twice as many; more are accepted and closed at once (3.10)."""
    client: Rate = NO_LIMIT
    """Bytes a second that one client may send; 0 = no limit. Servers of the mesh are exempt."""
    total: Rate = NO_LIMIT
    """The same for all clients together."""


class DerpServer:
    """Relays packets between the clients that `admit` lets in (everybody when it is None)."""

    def __init__(
        self,
        private_key: DerpPrivateKey,
        randomness: Randomness,
        clock: Clock,
        admit: Admit | None = None,
        *,
        limits: DerpLimits | None = None,
        mesh_key: DerpMeshKey | None = None,
    ) -> None:
        self.public_key = public_key(private_key)
        self.randomness = randomness
        self.clock = clock
        self.server_info = ServerInfo()
        self.counters = DerpMetrics()
        self.relay = Relay(self.counters)
        self.wheel: TimingWheel[DerpConnection | HttpFront] = TimingWheel(clock.now())
        self.stalled: set[DerpConnection] = set()
        self.loop = asyncio.get_running_loop()
        self.pages: dict[str, Page] = {}
        """Further pages by path."""
        self.arrivals = Arrivals()
        """Of listeners of its own, before they speak DERP."""
        self._private_key = private_key
        self._admit = admit
        self._limits = limits or DerpLimits()
        self._mesh_key = mesh_key
        self._accepts = Bucket(Rate(int(self._limits.accepts_per_s), int(2 * self._limits.accepts_per_s)))
        self.total_bucket = Bucket(self._limits.total)
        self._connections: set[DerpConnection] = set()
        self._waiting_by_ip: Counter[str] = Counter()
        self._waiting = 0
        self._admissions: set[asyncio.Task[None]] = set()
        self._listeners: list[asyncio.Server] = []
        self._ticker = self.loop.call_later(TICK_S, self._tick)
        self._stopped = False
        self._empty = asyncio.Event()
        self._empty.set()

    # Entry

    def upgrade(self, transport: asyncio.Transport, head: RequestHead, leftover: bytes = b"") -> None:
        """Take over a connection whose request head for `/derp` was read; `leftover` is what followed the head.

        The caller stops using the transport. A request that asks for no upgrade is answered 426 and closed.
        """
        kind = upgrade_kind(head)
        if kind is UpgradeKind.WEBSOCKET and not self._stopped:
            return self._upgrade_websocket(transport, head, leftover)
        if self._stopped or kind is not UpgradeKind.DERP:
            transport.write(encode_response(426, b"DERP requires connection upgrade\n"))
            transport.close()
            return
        self.adopt(transport, leftover, answer_upgrade=not wants_fast_start(head))

    def _upgrade_websocket(self, transport: asyncio.Transport, head: RequestHead, leftover: bytes) -> None:
        """Sub-protocol derp, any origin, no compression; then no DERP answer of its own (1.4)."""
        answer = upgrade_answer(head)
        if answer is None:
            transport.write(encode_response(400, b"bad WebSocket handshake\n"))
            transport.close()
            return
        transport.write(answer)
        self.counters.websockets += 1
        wrapped = WebSocketTransport(transport)
        self.adopt(wrapped, b"", answer_upgrade=False)
        if leftover:
            wrapped.receive(leftover)

    def adopt(self, transport: asyncio.Transport, leftover: bytes, *, answer_upgrade: bool) -> None:
        """Begin the DERP handshake on a transport."""
        ip = peer_ip(transport)
        if self._accepts.take(1, self.clock.now()) > 0:
            self.counters.closed["too_fast"] += 1
            transport.abort()
            return
        if len(self._connections) >= self._limits.connections or not self.reserve(ip):
            self.counters.closed["too_many"] += 1
            transport.abort()
            return
        handshake = ServerHandshake(self._private_key, self.clock.now(), answer_upgrade=answer_upgrade)
        connection = DerpConnection(self, handshake, ip)
        self._connections.add(connection)
        self._empty.clear()
        connection.start(transport, leftover)

    async def listen(
        self,
        host: str,
        port: int,
        ssl_context: ssl.SSLContext | None = None,
        *,
        pages: Mapping[str, Page] | None = None,
    ) -> int:
        """Serve on an own port, with the plain endpoints of a DERP host; with `pages` only these, and no relaying.

        The bound port. Raises OSError.
        """
        from control.derp.listener import HttpFront  # it names this module's server

        limit_tls_buffers()
        listener = await self.loop.create_server(
            lambda: HttpFront(self, self.pages if pages is None else pages, relay=pages is None),
            listen_hosts(host or ANY_V6),
            port,
            ssl=ssl_context,
            backlog=BACKLOG,
            ssl_handshake_timeout=10 if ssl_context else None,
            ssl_shutdown_timeout=5 if ssl_context else None,
        )
        self._listeners.append(listener)
        return int(listener.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening, let queued frames out for a second, end all connections."""
        self._stopped = True
        self._ticker.cancel()
        for listener in self._listeners:
            listener.close()
        self.arrivals.close()
        for task in self._admissions:
            task.cancel()
        spread_ms = min(RECONNECT_SPREAD_MS, RECONNECT_MS_PER_CLIENT * len(self._connections))
        for connection in list(self._connections):
            connection.restarting(int(self.randomness.uniform(0, spread_ms)), RETRY_FOR_MS)
            connection.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_GRACE_S):
                await self._empty.wait()
        for connection in list(self._connections):
            connection.abort("stopped")
        await asyncio.gather(*self._admissions, return_exceptions=True)

    # What operators and the control server ask

    def set_limits(self, limits: DerpLimits) -> None:
        """New rates and caps, for living clients too."""
        self._limits = limits
        self.total_bucket.rate = limits.total

    def limits_of_client(self) -> Rate:
        """What one client may send now."""
        return self._limits.client

    def close_peer(self, key: NodePublicKey) -> int:
        """End all connections of a node that was deleted or expired; how many there were."""
        connections = self.relay.connections_of(key)
        for connection in connections:
            cast(DerpConnection, connection).abort("closed_by_operator")
        return len(connections)

    def metrics(self) -> dict[str, int]:
        """Counters and gauges by name (derp spec 3.11)."""
        gauges = {
            "current_connections": len(self._connections),
            "current_home_connections": sum(1 for c in self._connections if c.preferred),
            "current_keys": len(self.relay),
            "current_dup_client_keys": self.relay.duplicate_keys,
            "current_unregistered": self._waiting,
            "current_remote_keys": self.relay.remote_keys,
        }
        return gauges | self.counters.snapshot()

    # What connections ask

    def reserve(self, ip: str) -> bool:
        """Count one more unregistered connection of an address; False when it has too many."""
        limits = self._limits
        if self._waiting >= limits.unregistered or self._waiting_by_ip[ip] >= limits.unregistered_per_ip:
            return False
        self._waiting += 1
        self._waiting_by_ip[ip] += 1
        return True

    def release(self, ip: str) -> None:
        self._waiting -= 1
        self._waiting_by_ip[ip] -= 1
        if not self._waiting_by_ip[ip]:
            del self._waiting_by_ip[ip]

    def is_mesh(self, hello: ClientHello) -> bool:
        """Whether the client is a server of our mesh; a wrong mesh key makes an ordinary client (2.3)."""
        ours, theirs = self._mesh_key, hello.info.mesh_key
        if ours is None or theirs is None or not any(ours.reveal()):
            return False
        return equal(ours.reveal(), theirs.reveal())

    def admit(self, connection: DerpConnection, hello: ClientHello) -> None:
        """Decide about a client that proved its key, beside the accept path. Servers of the mesh need no leave."""
        if self._admit is None or self.is_mesh(hello):
            return connection.admitted(hello, True)
        task = self.loop.create_task(self._decide(self._admit, connection, hello))
        self._admissions.add(task)
        task.add_done_callback(self._admissions.discard)

    async def _decide(self, admit: Admit, connection: DerpConnection, hello: ClientHello) -> None:
        allowed = False
        try:
            async with asyncio.timeout(ADMISSION_TIMEOUT_S):
                allowed = await admit(hello.key, connection.ip)
        except (ApplianceError, OSError, TimeoutError) as error:
            _log.warning("DERP admission failed: %s", error)
        finally:
            connection.admitted(hello, allowed)

    def registered(self, connection: DerpConnection) -> PeerConnections:
        self.release(connection.ip)
        self.counters.accepted += 1
        return self.relay.register(connection)

    def forget(self, connection: DerpConnection) -> None:
        """A connection ended."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()
        self.stalled.discard(connection)
        self.wheel.discard(connection)
        if connection.registered:
            self.relay.unregister(connection)
        else:
            self.release(connection.ip)

    # Time

    def _tick(self) -> None:
        self._ticker = self.loop.call_later(TICK_S, self._tick)
        self.handle_timers(self.clock.now())

    def handle_timers(self, now: float) -> None:
        """Keepalives, handshake deadlines and write deadlines; called twice a second."""
        for item in self.wheel.due(now):
            item.handle_due(now)
        for connection in list(self.stalled):
            connection.check_stall(now)


def peer_ip(transport: asyncio.BaseTransport) -> str:
    """Address of the other end in normal form, "" when the transport has none."""
    name = transport.get_extra_info("peername")
    if not isinstance(name, tuple):
        return ""
    return str(name[0]).partition("%")[0].removeprefix("::ffff:")


def limit_tls_buffers() -> None:
    """Make each TLS connection cost 41 KiB instead of 281: asyncio sizes its read buffer by this number (spec 12)."""
    sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES
