"""Accepts connections for an aiohttp server: not too many, and none that never asks.

aiohttp bounds heads and bodies, but neither the number of connections nor the time until the first request.
"""

from __future__ import annotations

import asyncio
import socket
from typing import cast

from aiohttp import web

MAX_CONNECTIONS = 64
FIRST_REQUEST_S = 10.0


class Doorkeeper:
    """Serves `server` on any number of sockets, which it owns."""

    def __init__(self, server: web.Server) -> None:
        self._server = server
        self._listeners: dict[int, asyncio.Server] = {}
        self._silent: dict[asyncio.BaseProtocol, asyncio.TimerHandle] = {}
        self.turned_away = 0

    async def open(self, listener: socket.socket) -> None:
        server = await asyncio.get_running_loop().create_server(self._accept, sock=listener)
        self._listeners[id(listener)] = server

    def close(self, listener: socket.socket) -> None:
        """Stop listening there; what is connected stays until it ends."""
        server = self._listeners.pop(id(listener), None)
        if server is not None:
            server.close()

    def has_asked(self, protocol: asyncio.BaseProtocol | None) -> None:
        """A whole request head came on this connection."""
        timer = self._silent.pop(protocol, None) if protocol is not None else None
        if timer is not None:
            timer.cancel()

    def _accept(self) -> asyncio.BaseProtocol:
        if len(self._server.connections) >= MAX_CONNECTIONS:
            self.turned_away += 1
            return _TurnedAway()
        self._forget_ended()
        protocol = self._server()
        timer = asyncio.get_running_loop().call_later(FIRST_REQUEST_S, self._drop_silent, protocol)
        self._silent[protocol] = timer
        return protocol

    def _forget_ended(self) -> None:
        """Connections that came and went without a request must not pile up until their timers fire."""
        if len(self._silent) >= 2 * MAX_CONNECTIONS:
            for protocol in [each for each in self._silent if cast("web.RequestHandler", each).transport is None]:
                self._silent.pop(protocol).cancel()

    def _drop_silent(self, protocol: web.RequestHandler) -> None:
        self._silent.pop(protocol, None)
        if protocol.transport is not None:
            self.turned_away += 1
            protocol.transport.abort()


class _TurnedAway(asyncio.Protocol):
    """There are too many connections: this one ends at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).abort()
