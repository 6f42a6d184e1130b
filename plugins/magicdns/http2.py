"""DNS over HTTPS by HTTP/2 (RFC 8484 section 5.2): all questions to one resolver share a connection."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

from appliance.proto.control.http2 import Http2
from appliance.proto.control.tunnel_events import BodyReceived, ResponseStarted, StreamEnded, StreamFailed
from appliance.types.errors import DecodeError
from plugins.magicdns.doh import IDLE_S, MAX_BYTES, TYPE, check_answer
from plugins.magicdns.errors import NoHttp2Error, UpstreamError
from plugins.magicdns.reach import Resolve, reach
from plugins.magicdns.trust import Trust, judged
from plugins.magicdns.upstream import HTTPS_PORT, Upstream

PROTOCOLS = ("h2", "http/1.1")
CLOSED = "closed the connection without an answer"
_HEADERS = (("accept", TYPE), ("content-type", TYPE))


class _LostError(UpstreamError):
    """The connection ended before the answer came."""


@dataclass(slots=True)
class _Exchange:
    result: asyncio.Future[bytes]
    status: int = 0
    kind: str = ""
    data: bytearray = field(default_factory=bytearray)

    def fail(self, error: UpstreamError) -> None:
        if not self.result.done():
            self.result.set_exception(error)

    def finish(self) -> None:
        try:
            check_answer(self.status, self.kind, len(self.data))
        except UpstreamError as error:
            self.fail(error)
        else:
            if not self.result.done():
                self.result.set_result(bytes(self.data))


class _Connection(asyncio.Protocol):
    """`chosen`: the server speaks HTTP/2; `usable`: it takes further questions.

    Closes itself when nobody has used it for a while.
    """

    def __init__(self, upstream: Upstream, context: ssl.SSLContext) -> None:
        host = upstream.server_name
        shown = f"[{host}]" if ":" in host else host
        self._authority = shown if upstream.port == HTTPS_PORT else f"{shown}:{upstream.port}"
        self._path = upstream.path
        self.context = context
        self.usable = self.chosen = False
        self.ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._http2 = Http2(client=True)
        self._exchanges: dict[int, _Exchange] = {}
        self._heard = 0
        self._idle: asyncio.TimerHandle | None = None

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.usable = self.chosen = transport.get_extra_info("ssl_object").selected_alpn_protocol() == PROTOCOLS[0]

    def data_received(self, data: bytes) -> None:
        self._heard += 1
        try:
            self._http2.receive_data(data)
        except DecodeError:
            self.abort()
            return
        while (event := self._http2.next_event()) is not None:
            match event:
                case ResponseStarted():
                    self._started(event)
                case BodyReceived():
                    self._more(event)
                case StreamEnded() if exchange := self._exchanges.pop(event.stream_id, None):
                    exchange.finish()
                case StreamFailed() if exchange := self._exchanges.pop(event.stream_id, None):
                    exchange.fail(UpstreamError(f"breaks the answer off (HTTP/2 error {event.code})"))
        if self._http2.goodbye is not None:
            self.usable = False
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        for exchange in self._exchanges.values():
            exchange.fail(_LostError(CLOSED))
        self._exchanges.clear()
        self._rest()
        self.ended.set()

    # --- questions

    async def post(self, message: bytes) -> bytes:
        """Raises `UpstreamError`."""
        if not self.usable:
            raise _LostError(CLOSED)
        try:
            stream_id = self._http2.send_request("POST", self._path, _HEADERS, message, authority=self._authority)
        except DecodeError as error:
            raise UpstreamError(f"takes no more questions: {error}") from None
        exchange = self._exchanges[stream_id] = _Exchange(self._loop.create_future())
        self._flush()
        if self._idle is not None:
            self._idle.cancel()
        heard = self._heard
        try:
            return await exchange.result
        finally:
            if self._exchanges.pop(stream_id, None) is not None:  # nobody waits for it any more
                self._http2.reset(stream_id)
                self._flush()
                self.usable = self.usable and self._heard != heard
            self._rest()

    def abort(self) -> None:
        self.usable = False
        self._transport.abort()

    def _started(self, event: ResponseStarted) -> None:
        if (exchange := self._exchanges.get(event.stream_id)) is not None:
            exchange.status, exchange.kind = event.status, dict(event.headers).get("content-type", "")

    def _more(self, event: BodyReceived) -> None:
        exchange = self._exchanges.get(event.stream_id)
        if exchange is None:
            return
        exchange.data += event.data
        if len(exchange.data) > MAX_BYTES:
            self._http2.reset(event.stream_id)
            self._exchanges.pop(event.stream_id).finish()

    def _flush(self) -> None:
        if (data := self._http2.data_to_send()) and not self._transport.is_closing():
            self._transport.write(data)

    def _rest(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if not self._exchanges and not self._transport.is_closing():
            self._idle = self._loop.call_later(IDLE_S if self.usable else 0, self._transport.close)


class Http2Client:
    """Belongs to one event loop. Raises `UpstreamError` and OSError."""

    def __init__(self, resolve: Resolve, trust: Trust) -> None:
        self._resolve = resolve
        self._trust = trust
        self._connections: dict[Upstream, _Connection] = {}
        self._connecting: dict[Upstream, asyncio.Lock] = {}

    async def post(self, upstream: Upstream, message: bytes) -> bytes:
        """Raises also `NoHttp2Error`."""
        if (kept := self._kept(upstream)) is not None:
            with suppress(_LostError):  # closed while nobody used it, which says nothing of the resolver
                return await kept.post(message)
        async with self._connecting.setdefault(upstream, asyncio.Lock()):
            made = self._kept(upstream) or await self._connect(upstream)
        return await made.post(message)

    async def close(self) -> None:
        connections = tuple(self._connections.values())
        self._connections.clear()
        for connection in connections:
            connection.abort()
        for connection in connections:
            await connection.ended.wait()

    def _kept(self, upstream: Upstream) -> _Connection | None:
        kept = self._connections.get(upstream)
        trusted = kept is not None and kept.context is self._trust.context(*PROTOCOLS)
        return kept if kept is not None and kept.usable and trusted else None

    async def _connect(self, upstream: Upstream) -> _Connection:
        context, loop, name = self._trust.context(*PROTOCOLS), asyncio.get_running_loop(), upstream.server_name

        async def connect(address: str) -> _Connection:
            _, made = await loop.create_connection(
                lambda: _Connection(upstream, context), address, upstream.port, ssl=context, server_hostname=name
            )
            return made

        with judged():
            made = await reach(upstream, self._resolve, connect)
        if not made.chosen:
            made.abort()
            await made.ended.wait()
            raise NoHttp2Error("speaks no HTTP/2")
        self._connections[upstream] = made
        return made
