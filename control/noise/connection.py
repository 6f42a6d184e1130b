"""One ts2021 connection: bytes between a transport and the tunnel machine, requests to a handler.

Output is written once per turn of the loop. While the transport's buffer is full, reading stops too, so that a peer
that asks and never reads cannot make us buffer (answers to its pings, for one).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, cast

import structlog

from appliance.proto.control.tunnel import ServerTunnel
from appliance.proto.control.tunnel_events import (
    Established,
    RequestReceived,
    StreamDrained,
    StreamFailed,
    TunnelEvent,
    TunnelFailed,
)
from appliance.proto.control.upgrade import ACCEPTED
from appliance.proto.http1.head import Headers
from appliance.types.keys import MachinePublicKey

log = structlog.get_logger("control.noise")

WRITE_HIGH_BYTES = 262144
WRITE_LOW_BYTES = 65536
MAX_UNREAD_BYTES = 1 << 20
"""Answers beyond this that a peer does not read are not made."""

Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class TunnelHandler(Protocol):
    """What happens to requests; called in the loop's thread."""

    async def handle(self, connection: TunnelConnection, request: RequestReceived) -> None:
        """Answer through `connection.respond` or `start_response` and `send_body`. Cancelled when the stream ends."""
        ...

    def stream_gone(self, connection: TunnelConnection, stream_id: int) -> None:
        """The client reset the stream, or the connection is lost."""
        ...

    def writable(self, connection: TunnelConnection) -> None:
        """Something that was queued left; look again at what waits for this connection."""
        ...


class TunnelConnection(asyncio.Protocol):
    """Owns its transport after the HTTP upgrade."""

    def __init__(
        self,
        tunnel: ServerTunnel,
        handler: TunnelHandler,
        spawn: Spawn,
        remote_ip: str,
        counters: Counter[str] | None = None,
        on_first_request: Callable[[TunnelConnection], None] | None = None,
    ) -> None:
        self._on_first_request = on_first_request
        self._tunnel = tunnel
        self._handler = handler
        self._spawn = spawn
        self.remote_ip = remote_ip
        self.counters = Counter() if counters is None else counters
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._flush_scheduled = False
        self._full = False
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._lost: asyncio.Future[None] | None = None

    @property
    def peer(self) -> MachinePublicKey:
        """The tunnel's machine key: the identity of every request."""
        peer = self._tunnel.peer
        assert peer is not None
        return peer

    @property
    def version(self) -> int:
        """Capability version of the handshake."""
        return self._tunnel.version

    def is_writable(self, stream_id: int) -> bool:
        """Whether new data for the stream would leave at once instead of waiting in memory."""
        return not self._full and self._transport is not None and self._tunnel.queued_bytes(stream_id) == 0

    @property
    def is_overloaded(self) -> bool:
        """Whether the peer asks for more than it reads: no further large answer for it now."""
        return self._full or self._tunnel.queued_total > MAX_UNREAD_BYTES

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way."""
        return self._tunnel.is_idle

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop has transport classes of its own
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES, low=WRITE_LOW_BYTES)
        transport.write(ACCEPTED + self._tunnel.data_to_send())
        self._handle_events()

    def data_received(self, data: bytes) -> None:
        self._tunnel.receive_data(data)
        self._handle_events()
        self._schedule_flush()

    def pause_writing(self) -> None:
        self._full = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._full = False
        if self._transport is not None:
            self._transport.resume_reading()
            self._handler.writable(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        for stream_id in tuple(self._tasks):
            self._end_task(stream_id)
        self._handler.stream_gone(self, 0)
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(None)

    # for handlers

    def respond(self, stream_id: int, status: int, body: bytes, content_type: str = "application/json") -> None:
        self._tunnel.respond(stream_id, status, body, content_type)
        self._schedule_flush()

    def start_response(self, stream_id: int, status: int, headers: Headers) -> None:
        self._tunnel.start_response(stream_id, status, headers)
        self._schedule_flush()

    def send_body(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        self._tunnel.send_body(stream_id, data, end=end)
        self._schedule_flush()

    def end_stream(self, stream_id: int) -> None:
        """Finish a response; what the peer has not made room for is dropped."""
        if self._tunnel.queued_bytes(stream_id):
            self._tunnel.reset(stream_id)
            self._schedule_flush()
        else:
            self.send_body(stream_id, b"", end=True)

    def abort(self) -> None:
        """Drop the connection at once, unsent data included."""
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Say goodbye, then close once all is sent."""
        self._tunnel.close()
        self._end()

    async def wait_lost(self) -> None:
        """Until the connection is gone."""
        if self._transport is not None:
            self._lost = self._lost or self._loop.create_future()
            await self._lost

    # inside

    def _handle_events(self) -> None:
        while (event := self._tunnel.next_event()) is not None:
            self._handle_event(event)

    def _handle_event(self, event: TunnelEvent) -> None:
        match event:
            case RequestReceived():
                if self._on_first_request is not None:
                    self._on_first_request(self)
                    self._on_first_request = None
                self._start_task(event)
            case StreamDrained():
                self._handler.writable(self)
            case StreamFailed():
                self.counters["stream_failed"] += 1
                self._end_task(event.stream_id)
                self._handler.stream_gone(self, event.stream_id)
            case Established():
                self.counters["tunnel_opened"] += 1
                log.debug("tunnel opened", machine=event.peer.short, version=event.version, remote=self.remote_ip)
            case TunnelFailed():
                if event.reason is not None:
                    self.counters[f"tunnel_{event.reason}"] += 1
                log.debug("tunnel ended", reason=str(event.reason or "goodbye"), text=event.text, remote=self.remote_ip)
                self._end()
            case _:
                pass

    def _start_task(self, request: RequestReceived) -> None:
        task = self._spawn(self._run(request))
        self._tasks[request.stream_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(request.stream_id, None))

    async def _run(self, request: RequestReceived) -> None:
        try:
            await self._handler.handle(self, request)
        except Exception:  # a defect in one request must leave the tunnel and its streams alive
            log.exception("request failed unexpectedly", path=request.path, machine=self.peer.short)
            self.respond(request.stream_id, 500, b"internal error\n", "text/plain; charset=utf-8")

    def _end_task(self, stream_id: int) -> None:
        task = self._tasks.pop(stream_id, None)
        if task is not None:
            task.cancel()

    def _schedule_flush(self) -> None:
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _end(self) -> None:
        """Close once all is sent. Never twice: asyncio's TLS transport can no longer be aborted then."""
        self._flush()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()

    def _flush(self) -> None:
        self._flush_scheduled = False
        data = self._tunnel.data_to_send()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
        self._handle_events()
