"""The peer API's listeners: one per own overlay address, on a port that stays the same from start to start.

The packet filter lets every peer through to these ports, so everything is decided here: a source address that is no
node of the netmap is cut off without an answer, requests that a browser was led to are refused (apps spec 1.2, 1.3).
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

import structlog
from aiohttp import web

from appliance.peerapi.caller import Caller
from appliance.peerapi.routes import PeerRequest, PeerRoutes
from appliance.proto.peerapi import (
    BROWSER_HEADERS,
    PORT_TRIES,
    host_is_ours,
    is_cross_site,
    looks_like_browser,
    port_choice,
)
from appliance.types.addresses import Address, AddrPort
from appliance.types.errors import ApplianceError

log = structlog.get_logger("peerapi")

MAX_CONNECTIONS = 256
MAX_CONNECTIONS_PER_PEER = 32
FIRST_REQUEST_S = 10.0
"""A connection that has not brought a whole request head by then is cut off."""
IDLE_S = 30.0
STOP_S = 2.0

Identify = Callable[[AddrPort], Caller | None]
OpenListener = Callable[[Address, int], socket.socket]


class PeerApiServer:
    """`identify` says who a source address is, None: nobody. `listen` may be called again at any time.

    `open_listener` raises `ApplianceError` where it may not listen.
    """

    def __init__(self, routes: PeerRoutes, identify: Identify, open_listener: OpenListener) -> None:
        self._routes = routes
        self._identify = identify
        self._open = open_listener
        self._listeners: dict[Address, tuple[asyncio.Server, int]] = {}
        self._factory: _Factory | None = None
        self._per_source: Counter[str] = Counter()
        self.counters: Counter[str] = Counter()
        """Connections and requests that were refused, by reason."""

    @property
    def endpoints(self) -> tuple[AddrPort, ...]:
        """Where it listens now, IPv4 first."""
        found = [AddrPort(str(address), port) for address, (_, port) in self._listeners.items()]
        return tuple(sorted(found, key=lambda item: (item.is_v6, item.ip)))

    def port(self, version: int) -> int:
        """The port of an IP version, 0 when it does not listen there."""
        return next((port for address, (_, port) in self._listeners.items() if address.version == version), 0)

    async def listen(self, addresses: Collection[Address]) -> tuple[Address, ...]:
        """Listen on exactly these addresses; the ones that keep their listener keep their connections.

        Returns the addresses on which no port is to be had.
        """
        for address in [known for known in self._listeners if known not in addresses]:
            self._listeners.pop(address)[0].close()
        failed: list[Address] = []
        for address in addresses:
            if address in self._listeners:
                continue
            try:
                await self._start(address)
            except ApplianceError as error:
                log.warning("peer API cannot listen", address=str(address), error=error.text)
                failed.append(address)
        return tuple(failed)

    async def close(self) -> None:
        """Stop listening and end all connections. Safe to call twice."""
        await self.listen(())
        if self._factory is not None:
            await self._factory.shutdown(STOP_S)
            self._factory = None

    async def _start(self, address: Address) -> None:
        if self._factory is None:
            self._factory = _Factory(self, self._answer)
        listener = self._bound(address)
        server = await asyncio.get_running_loop().create_server(self._factory, sock=listener)
        self._listeners[address] = (server, int(listener.getsockname()[1]))

    def _bound(self, address: Address) -> socket.socket:
        for attempt in range(PORT_TRIES):
            try:
                return self._open(address, port_choice(address, attempt))
            except ApplianceError:
                continue
        return self._open(address, 0)

    # connections

    def admit(self, source: AddrPort) -> bool:
        """Whether a connection may stay; each that does is given back with `left`."""
        if self._identify(source) is None:
            self.counters["unknown_source"] += 1
            return False
        if self._per_source[source.ip] >= MAX_CONNECTIONS_PER_PEER or self._per_source.total() >= MAX_CONNECTIONS:
            self.counters["too_many_connections"] += 1
            return False
        self._per_source[source.ip] += 1
        return True

    def left(self, source: AddrPort) -> None:
        self._per_source[source.ip] -= 1
        if self._per_source[source.ip] <= 0:
            del self._per_source[source.ip]

    # requests

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, _Connection)
        connection.first_request_came()
        caller = self._identify(connection.source)  # again: the netmap may have changed since
        if caller is None:
            self.counters["unknown_source"] += 1
            connection.abort()
            return web.Response(status=403)
        response = await self._checked(request, caller)
        if looks_like_browser(request.headers) and not response.prepared:
            response.headers.update(BROWSER_HEADERS)
        return response

    async def _checked(self, request: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        own = _addresses(caller)
        if is_cross_site(request.headers) or not host_is_ours(request.headers.get("Host", ""), own):
            self.counters["invalid_request"] += 1
            return text(403, "invalid peerapi request")
        handler = self._routes.find(request.path)
        if handler is None:
            return text(404, "unsupported peerapi path")
        return await handler(PeerRequest(request, caller))


def text(status: int, words: str) -> web.Response:
    """A short answer for people and logs."""
    return web.Response(status=status, text=words + "\n")


def _addresses(caller: Caller) -> Collection[Address]:
    return [prefix.network_address for prefix in caller.own.addresses]


class _Factory(web.Server):
    """Makes the protocol of each connection."""

    def __init__(self, owner: PeerApiServer, handler: Any) -> None:
        super().__init__(handler, access_log=None, keepalive_timeout=IDLE_S, lingering_time=0.0)
        self.owner = owner

    def __call__(self) -> web.RequestHandler:
        return _Connection(self)


class _Connection(web.RequestHandler):
    """aiohttp's protocol behind a door: strangers are cut off before a byte is read."""

    def __init__(self, factory: _Factory) -> None:
        super().__init__(
            factory,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # aiohttp takes None for no log
            keepalive_timeout=IDLE_S,
            lingering_time=0.0,
        )
        self.source = AddrPort("0.0.0.0", 0)  # noqa: S104  # until the connection is made
        self._owner = factory.owner
        self._admitted = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self.source = AddrPort(str(peer[0]), int(peer[1])) if peer else self.source
        super().connection_made(transport)
        self._admitted = bool(peer) and self._owner.admit(self.source)
        if not self._admitted:
            self.abort()
            return
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(FIRST_REQUEST_S, self.abort)

    def data_received(self, data: bytes) -> None:
        if self._admitted:
            super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.first_request_came()
        if self._admitted:
            self._admitted = False
            self._owner.left(self.source)
        super().connection_lost(exc)

    def first_request_came(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def abort(self) -> None:
        """Cut off without a word."""
        if self.transport is not None:
            self.transport.abort()
