"""One open tunnel to the control server: requests and streamed answers over the tunnel machine.

Owns the byte stream. `run` pumps bytes until the tunnel ends; requests are made beside it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from appliance.netmap.errors import ControlUnreachable, ProtocolError
from appliance.ports.streams import ByteStream
from appliance.proto.control.tunnel import ClientTunnel
from appliance.proto.control.tunnel_events import (
    BodyReceived,
    Established,
    ResponseStarted,
    StreamEnded,
    StreamFailed,
    TunnelEvent,
    TunnelFailed,
)
from appliance.proto.http1.head import Headers
from appliance.types.errors import DecodeError


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str:
        """First value of the header (`name` in lower case), empty when absent."""
        return next((value for found, value in self.headers if found == name), "")


class ReplyStream:
    """An answer that arrives in parts. Ends with `ControlUnreachable` when the tunnel breaks."""

    def __init__(self, connection: ControlConnection, stream_id: int) -> None:
        self._connection = connection
        self.stream_id = stream_id
        self.status = 0
        self.headers: Headers = ()
        self._parts: deque[bytes] = deque()
        self._ended = False
        self._failure = ""
        self._news = asyncio.Event()

    async def started(self) -> int:
        """Wait for the headers; returns the HTTP status."""
        while not self.status and not self._ended:
            await self._wait()
        if not self.status:
            raise ControlUnreachable(f"the control server gave no answer: {self._failure or 'it ended the stream'}")
        return self.status

    async def parts(self) -> AsyncIterator[bytes]:
        """Body bytes until the end in order."""
        while True:
            while self._parts:
                yield self._parts.popleft()
            if self._ended:
                break
            await self._wait()
        if self._failure:
            raise ControlUnreachable(f"the control server's answer broke off: {self._failure}")

    def abort(self) -> None:
        """Drop the stream on both sides."""
        self._connection.reset(self.stream_id)
        self.end("aborted")

    def start(self, status: int, headers: Headers) -> None:
        self.status, self.headers = status, headers
        self._news.set()

    def add(self, data: bytes) -> None:
        self._parts.append(data)
        self._news.set()

    def end(self, failure: str = "") -> None:
        if not self._ended:
            self._ended, self._failure = True, failure
            self._news.set()

    async def _wait(self) -> None:
        self._news.clear()
        await self._news.wait()


class ControlConnection:
    """Made before the handshake: `handshake`, then `run` in a task of its own."""

    def __init__(self, stream: ByteStream, tunnel: ClientTunnel) -> None:
        self._stream = stream
        self._tunnel = tunnel
        self._replies: dict[int, ReplyStream] = {}
        self._closed = asyncio.Event()
        self.failure = ""
        """Why it ended; empty while it is open."""

    @property
    def is_open(self) -> bool:
        return not self._closed.is_set()

    async def handshake(self) -> None:
        """Upgrade and Noise. Raises `ControlUnreachable` and `ProtocolError`; the stream is closed then."""
        try:
            self._flush()
            await self._stream.drain()
            while not await self._established():
                pass
        except OSError as error:
            self.close(str(error))
            raise ControlUnreachable(f"the tunnel to the control server broke: {error}") from error
        except BaseException:
            self.close("handshake given up")
            raise

    async def _established(self) -> bool:
        data = await self._stream.read()
        if data:
            self._tunnel.receive_data(data)
        else:
            self._tunnel.receive_eof()
        done = False
        while (event := self._tunnel.next_event()) is not None:
            if isinstance(event, TunnelFailed):
                self.close(event.text)
                raise ProtocolError(f"no tunnel to the control server: {event.text}")
            done = done or isinstance(event, Established)
            self._dispatch(event)
        self._flush()
        return done

    async def run(self) -> None:
        """Pump until the tunnel ends; never raises but when cancelled."""
        try:
            while self.is_open:
                data = await self._stream.read()
                if data:
                    self._tunnel.receive_data(data)
                else:
                    self._tunnel.receive_eof()
                self._take_events()
                self._flush()
                await self._stream.drain()
        except OSError as error:
            self.close(str(error) or type(error).__name__)
        finally:
            self.close("closed")

    def open(self, method: str, path: str, body: bytes = b"", headers: Headers = ()) -> ReplyStream:
        """Send a request whose answer is streamed. Raises `ControlUnreachable` when the tunnel is gone."""
        try:
            if not self.is_open:
                raise ControlUnreachable(f"the tunnel to the control server is closed: {self.failure}")
            stream_id = self._tunnel.request(method, path, body, headers)
        except DecodeError as error:
            raise ControlUnreachable(f"the tunnel to the control server is closed: {error.text}") from error
        reply = self._replies[stream_id] = ReplyStream(self, stream_id)
        self._flush()
        return reply

    async def request(self, method: str, path: str, body: bytes = b"", *, limit: int = 2**20) -> Reply:
        """A request with a small answer; one longer than `limit` bytes raises `ProtocolError`."""
        stream = self.open(method, path, body)
        try:
            status = await stream.started()
            data = bytearray()
            async for part in stream.parts():
                data += part
                if len(data) > limit:
                    raise ProtocolError(f"the control server's answer to {path} is longer than {limit} bytes")
            return Reply(status, stream.headers, bytes(data))
        except BaseException:
            stream.abort()
            raise

    def reset(self, stream_id: int) -> None:
        if self._replies.pop(stream_id, None) is not None and self.is_open:
            self._tunnel.reset(stream_id)
            self._flush()

    def close(self, why: str = "closed") -> None:
        """Say goodbye and drop the connection; open answers end with an error."""
        if self._closed.is_set():
            return
        self.failure = why
        self._closed.set()
        self._tunnel.close()
        self._flush()
        self._stream.close()
        for reply in tuple(self._replies.values()):
            reply.end(why)
        self._replies.clear()

    async def wait_closed(self) -> None:
        await self._closed.wait()

    def _take_events(self) -> None:
        while (event := self._tunnel.next_event()) is not None:
            self._dispatch(event)

    def _dispatch(self, event: TunnelEvent) -> None:
        match event:
            case ResponseStarted(stream_id, status, headers) if stream_id in self._replies:
                self._replies[stream_id].start(status, headers)
            case BodyReceived(stream_id, data) if stream_id in self._replies:
                self._replies[stream_id].add(data)
            case StreamEnded(stream_id) if stream_id in self._replies:
                self._replies.pop(stream_id).end()
            case StreamFailed(stream_id, code) if stream_id in self._replies:
                self._replies.pop(stream_id).end(f"stream reset, code {code}")
            case TunnelFailed(_, text):
                self.close(text)

    def _flush(self) -> None:
        data = self._tunnel.data_to_send()
        if data:
            self._stream.write(data)
