"""The front listener: HTTP/1.1 heads of at most 8 KiB, then a plain reply or a hand-over of the connection.

Deliberately small: no chunked bodies, no compression, no ALPN but http/1.1 (control-protocol spec section 3.1). Bytes
that came behind the head go to whoever takes the connection over.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, cast

import structlog

from appliance.drivers.listening import Arrival, Arrivals, listen_hosts
from appliance.proto.http1.head import RequestHead, encode_response, parse_request_head
from appliance.types.errors import ApplianceError, DecodeError, DecodeReason
from control.noise.upgrade import remote_ip_of
from control.server.peeking import TLS_HANDSHAKE_TIMEOUT_S, PeekingListener
from control.server.routes import MAX_PLAIN_BODY, PlainRequest, PlainResponse, Routes

if TYPE_CHECKING:
    import ssl

    from control.noise.connection import Spawn
    from control.tls.alpn_challenge import AlpnAnswers

log = structlog.get_logger("control.front")

HEAD_TIMEOUT_S = 10.0
"""For a whole request, and between requests on one connection."""
BACKLOG = 4096
KEEP_IDLE_S = 60
KEEP_INTERVAL_S = 15
USER_TIMEOUT_MS = 60_000


class Front:
    """Serves `routes` on any number of listeners; `close` it after them."""

    def __init__(self, routes: Routes, spawn: Spawn, *, head_timeout_s: float = HEAD_TIMEOUT_S) -> None:
        self.routes = routes
        self.spawn = spawn
        self.head_timeout_s = head_timeout_s
        self.counters: dict[str, int] = {}
        self.arrivals = Arrivals()

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> asyncio.Server:
        """Start a listener. Raises `ApplianceError` with the mend when the port cannot be had."""
        loop = asyncio.get_running_loop()
        timeout = TLS_HANDSHAKE_TIMEOUT_S if tls is not None else None
        try:
            server = await loop.create_server(
                lambda: FrontConnection(self),
                listen_hosts(host),
                port,
                ssl=tls,
                ssl_handshake_timeout=timeout,
                backlog=BACKLOG,
            )
        except OSError as error:
            raise _cannot_listen(host, port, error) from error
        for listener in server.sockets:
            _notice_dead_peers(listener)
        return server

    def listen_peeking(self, host: str, port: int, own: ssl.SSLContext, answers: AlpnAnswers) -> PeekingListener:
        """The same with answers to an authority that looks here. Raises `ApplianceError`."""
        opened: list[socket.socket] = []
        try:
            for ip in listen_hosts(host):
                family = socket.AF_INET6 if ":" in ip else socket.AF_INET
                opened.append(socket.create_server((ip, port), family=family, backlog=BACKLOG))
                opened[-1].setblocking(False)
                _notice_dead_peers(opened[-1])
                port = int(opened[0].getsockname()[1])
        except OSError as error:
            for listener in opened:
                listener.close()
            raise _cannot_listen(host, port, error) from error
        return PeekingListener(opened, lambda: FrontConnection(self), own, answers)

    def count(self, what: str) -> None:
        self.counters[what] = self.counters.get(what, 0) + 1

    def close(self) -> None:
        """Drop all connections that nobody took over, and those that still come."""
        self.arrivals.close()


class FrontConnection(Arrival):
    """One connection until it is handed over or ends."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        """None once it is lost or handed over."""
        self._buffer = bytearray()
        self._head: RequestHead | None = None
        self._body_size = 0
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made = self._transport = cast("asyncio.Transport", transport)  # uvloop has classes of its own
        if self._front.arrivals.admit(self):
            self._start_timer()
        else:
            self.made.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self.made = self._transport = None
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._busy:
            if self._transport is not None and len(self._buffer) > MAX_PLAIN_BODY:
                self._transport.pause_reading()
            return
        self._proceed()

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(self._front.head_timeout_s, self._time_out)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_out(self) -> None:
        self._front.count("request_timeout")
        if self._transport is not None:
            self._transport.abort()

    def _proceed(self) -> None:
        """Read a head, then its body, then act; whatever is incomplete waits for more bytes."""
        try:
            if self._head is None:
                parsed = parse_request_head(self._buffer)
                if parsed is None:
                    return
                head, size = parsed
                del self._buffer[:size]
                if self._hand_over(head):
                    return
                self._head = head
                self._body_size = head.content_length() or 0
                if self._body_size > MAX_PLAIN_BODY:
                    self._refuse(413, "request body is too large")
                    return
            if len(self._buffer) >= self._body_size:
                self._start_plain(self._head)
        except DecodeError as error:
            self._front.count(f"bad_request_{error.reason}")
            self._refuse(431 if error.reason is DecodeReason.TOO_LONG else 400, error.text)

    def _refuse(self, status: int, text: str) -> None:
        self._stop_timer()
        if self._transport is not None:
            body = f"{text}\n".encode()
            self._transport.write(encode_response(status, body, "text/plain; charset=utf-8", ("Connection", "close")))
            self._transport.close()

    def _hand_over(self, head: RequestHead) -> bool:
        """Give the connection to a raw route, leftover bytes included."""
        route = self._front.routes.raw.get(head.path)
        transport = self._transport
        if route is None or transport is None:
            return False
        self._stop_timer()
        leftover = bytes(self._buffer)
        self._buffer.clear()
        self._transport = None
        route(transport, head, leftover)
        return True

    def _start_plain(self, head: RequestHead) -> None:
        assert self._transport is not None
        self._stop_timer()
        self._busy = True
        body = bytes(self._buffer[: self._body_size])
        del self._buffer[: self._body_size]
        request = PlainRequest(head, body, remote_ip_of(self._transport))
        self._task = self._front.spawn(self._answer(request))

    async def _answer(self, request: PlainRequest) -> None:
        response = await self._response_to(request)
        self._task = None
        transport = self._transport
        if transport is None:
            return
        keep_alive = request.head.keep_alive
        extra = response.headers if keep_alive else (*response.headers, ("Connection", "close"))
        body = b"" if request.head.method == "HEAD" else response.body
        transport.write(encode_response(response.status, body, response.content_type, *extra))
        if not keep_alive:
            transport.close()
            return
        self._busy = False
        self._head = None
        self._start_timer()
        transport.resume_reading()
        if self._buffer:
            self._proceed()

    async def _response_to(self, request: PlainRequest) -> PlainResponse:
        routes, head = self._front.routes, request.head
        method = "GET" if head.method == "HEAD" else head.method
        route = routes.find(method, head.path)
        if route is None:
            known = routes.knows_path(head.path)
            return PlainResponse(405, b"method not allowed\n") if known else PlainResponse(404, b"not found\n")
        try:
            return await route(request)
        except Exception:  # a defect in one request must not leave the client without an answer
            log.exception("request failed unexpectedly", path=head.path)
            return PlainResponse(500, b"internal error\n")


def _cannot_listen(host: str, port: int, error: OSError) -> ApplianceError:
    mend = "stop the program that has it, or choose another address with --listen"
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    return ApplianceError(f"cannot listen on {host}:{port}: {reason}", mend=mend, code="listen")


def _notice_dead_peers(listener: socket.socket) -> None:
    """Connections inherit these: a peer that vanished ends its map stream in about two minutes, idle or not."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEP_IDLE_S)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEP_INTERVAL_S)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
