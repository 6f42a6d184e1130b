"""`GET /key` and `POST /ts2021` at the front listener (control-protocol spec sections 2, 3.1)."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import suppress
from weakref import WeakSet

from appliance.crypto.x25519 import clamp, public_key
from appliance.ports.randomness import Randomness
from appliance.proto.control.tunnel import ServerTunnel
from appliance.proto.control.upgrade import encode_key_response, parse_upgrade
from appliance.proto.http1.head import RequestHead, encode_response
from appliance.types.errors import DecodeError
from appliance.types.keys import ChallengePrivateKey, MachinePrivateKey, MachinePublicKey
from control.noise.connection import Spawn, TunnelConnection, TunnelHandler

HANDSHAKES_PER_TURN = 16
"""Of the loop, some 20 ms: when thousands of nodes come back at once, everything else still gets its turn."""
MAX_TUNNELS_PER_MACHINE = 16
"""Clients hold one or two; more are leftovers, or somebody who wants our memory."""
STOP_GRACE_S = 1.0
"""For goodbyes to leave, TLS's own among them."""


class NoiseUpgrade:
    """Makes a `TunnelConnection` of a connection whose request head asks for it."""

    def __init__(
        self, private: MachinePrivateKey, handler: TunnelHandler, spawn: Spawn, randomness: Randomness
    ) -> None:
        self._private = private
        self._handler = handler
        self._spawn = spawn
        self._randomness = randomness
        self._open: WeakSet[TunnelConnection] = WeakSet()
        self._idle: WeakSet[TunnelConnection] = WeakSet()
        self._by_machine: dict[MachinePublicKey, list[TunnelConnection]] = {}
        self._loop = asyncio.get_running_loop()
        self._room = HANDSHAKES_PER_TURN
        self._turn_due = False
        self._waiting: deque[tuple[asyncio.Transport, bytes, bytes]] = deque()
        self.counters: Counter[str] = Counter()
        self._key_response = encode_key_response(public_key(private))

    def key_response(self, version: str | None) -> bytes | None:
        """Body of `/key?v=<version>`; None = answer 400."""
        if version is None or not version.isascii() or not version.isdigit():
            return None
        return self._key_response

    def take(self, transport: asyncio.Transport, head: RequestHead, leftover: bytes) -> None:
        """Own the connection: refuse with an answer and close, or run the tunnel on it."""
        if head.method != "POST":
            self.counters["bad_method"] += 1
            _refuse(transport, 405, "use POST")
            return
        try:
            initiation = parse_upgrade(head)
        except DecodeError as error:
            self.counters[f"bad_upgrade_{error.reason}"] += 1
            _refuse(transport, 400, error.text)
            return
        if self._room and not self._waiting:
            self._room -= 1
            self._begin(transport, initiation, leftover)
        else:
            transport.pause_reading()
            self._waiting.append((transport, initiation, leftover))
        self._await_turn()

    def _await_turn(self) -> None:
        if not self._turn_due:
            self._turn_due = True
            self._loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        """Those that waited, before any new ones."""
        self._turn_due = False
        self._room = HANDSHAKES_PER_TURN
        while self._room and self._waiting:
            transport, initiation, leftover = self._waiting.popleft()
            if not transport.is_closing():
                self._room -= 1
                transport.resume_reading()
                self._begin(transport, initiation, leftover)
        if self._waiting:
            self._await_turn()

    def _begin(self, transport: asyncio.Transport, initiation: bytes, leftover: bytes) -> None:
        challenge = ChallengePrivateKey(clamp(self._randomness.bytes(32)))
        tunnel = ServerTunnel(
            self._private, initiation, ephemeral_seed=self._randomness.bytes(32), challenge=public_key(challenge)
        )
        connection = TunnelConnection(
            tunnel, self._handler, self._spawn, remote_ip_of(transport), self.counters, self._limit
        )
        self._open.add(connection)
        transport.set_protocol(connection)
        connection.connection_made(transport)
        if leftover and not transport.is_closing():
            connection.data_received(leftover)

    def _limit(self, connection: TunnelConnection) -> None:
        """One machine holds so many tunnels and no more: the oldest goes.

        Called with the first request, which proves the machine; a handshake alone may be somebody's recording.
        """
        machine = connection.peer
        held = [one for one in self._by_machine.pop(machine, ()) if one.is_open]
        self._by_machine[machine] = [*held, connection]
        if len(held) >= MAX_TUNNELS_PER_MACHINE:
            self.counters["tunnels_over_limit"] += 1
            held[0].abort()

    def sweep(self) -> None:
        """End tunnels that had no request since the last call; call it every few minutes."""
        was_idle = [connection for connection in self._idle if connection.is_idle]
        self._idle = WeakSet(connection for connection in self._open if connection.is_idle)
        for connection in was_idle:
            self.counters["tunnels_idle"] += 1
            connection.close()
        living = ((machine, [one for one in held if one.is_open]) for machine, held in self._by_machine.items())
        self._by_machine = {machine: held for machine, held in living if held}

    async def close(self) -> None:
        """Say goodbye on every open tunnel, drop those that do not end soon; who waits for one is sent away."""
        for transport, _, _ in self._waiting:
            transport.abort()
        self._waiting.clear()
        ending = tuple(self._open)
        for connection in ending:
            connection.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_GRACE_S):
                for connection in ending:
                    await connection.wait_lost()
        for connection in ending:
            connection.abort()


def _refuse(transport: asyncio.Transport, status: int, text: str) -> None:
    body = f"{text}\n".encode()
    transport.write(encode_response(status, body, "text/plain; charset=utf-8", ("Connection", "close")))
    transport.close()


def remote_ip_of(transport: asyncio.BaseTransport) -> str:
    """The peer's address as text; empty when the socket is gone."""
    name = transport.get_extra_info("peername")
    return str(name[0]) if isinstance(name, tuple) and name else ""
