"""HTTP/2 inside the tunnel: streams, queues and flow control on top of h2 (control-protocol spec section 5).

Knows neither Noise nor sockets. What a stream may not send yet waits in its queue; callers bound that by waiting for
`StreamDrained`. Request bodies are collected up to their limits, response bodies are passed on as they come.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from hyperframe.exceptions import HyperframeError

from appliance.proto.control.tunnel_events import (
    BodyReceived,
    RequestReceived,
    ResponseStarted,
    StreamDrained,
    StreamEnded,
    StreamFailed,
    TunnelEvent,
)
from appliance.types.errors import DecodeError, DecodeReason

if TYPE_CHECKING:
    from appliance.proto.http1.head import Headers

MAX_REQUEST_BODY = 2**20
MAX_REQUEST_BODIES = 4 * 2**20
"""All unfinished request bodies of one tunnel together."""
MAX_CONCURRENT_STREAMS = 64
_CLIENT_STREAM_WINDOW = 2**20
_CLIENT_CONNECTION_WINDOW = 4 * 2**20


@dataclass(slots=True)
class _Stream:
    """One stream that is not finished on both sides."""

    queue: deque[memoryview] = field(default_factory=deque)
    queued: int = 0
    ending: bool = False
    ended: bool = False
    method: str = ""
    path: str = ""
    headers: Headers = ()
    body: list[bytes] = field(default_factory=list)
    body_size: int = 0
    refused: bool = False
    remote_done: bool = False


class Http2:
    """One side of the connection; `client` says which. Raises `DecodeError` only from `receive_data`."""

    def __init__(self, *, client: bool) -> None:
        self._client = client
        config = h2.config.H2Configuration(client_side=client, header_encoding=None)
        self._h2 = h2.connection.H2Connection(config=config)
        self._streams: dict[int, _Stream] = {}
        self._bodies_size = 0
        self._events: deque[TunnelEvent] = deque()
        self.goodbye: str | None = None
        self._start()

    def _start(self) -> None:
        codes = h2.settings.SettingCodes
        values = {codes.MAX_CONCURRENT_STREAMS: MAX_CONCURRENT_STREAMS, codes.MAX_HEADER_LIST_SIZE: 65536}
        if self._client:
            values |= {codes.ENABLE_PUSH: 0, codes.INITIAL_WINDOW_SIZE: _CLIENT_STREAM_WINDOW}
        self._h2.local_settings = h2.settings.Settings(client=self._client, initial_values=values)
        self._h2.initiate_connection()
        if self._client:
            self._h2.increment_flow_control_window(_CLIENT_CONNECTION_WINDOW - 65535)

    def next_event(self) -> TunnelEvent | None:
        return self._events.popleft() if self._events else None

    def data_to_send(self) -> bytes:
        return bytes(self._h2.data_to_send())

    def queued_bytes(self, stream_id: int) -> int:
        """Body bytes of the stream that wait for the other side's window."""
        stream = self._streams.get(stream_id)
        return stream.queued if stream is not None else 0

    @property
    def queued_total(self) -> int:
        """Body bytes of all streams that wait for the other side's windows."""
        return sum(stream.queued for stream in self._streams.values())

    def open_streams(self) -> tuple[int, ...]:
        return tuple(self._streams)

    # sending

    def send_request(self, method: str, path: str, headers: Headers, body: bytes, *, authority: str = "unused") -> int:
        """`authority`: host and port of the server, where it has any.

        Returns the stream's id. Raises `DecodeError` (UNEXPECTED) when the connection cannot carry it.
        """
        fields = [(":method", method), (":scheme", "https"), (":authority", authority), (":path", path), *headers]
        if body:
            fields.append(("content-length", str(len(body))))
        try:
            stream_id = int(self._h2.get_next_available_stream_id())
            self._h2.send_headers(stream_id, fields, end_stream=not body)
        except h2.exceptions.H2Error as error:
            raise DecodeError(DecodeReason.UNEXPECTED, f"HTTP/2: {str(error)[:100]}") from None
        stream = self._streams[stream_id] = _Stream(ended=not body)
        if body:
            self._queue(stream_id, stream, body, end=True)
        return stream_id

    def send_response(self, stream_id: int, status: int, headers: Headers, *, end: bool = False) -> None:
        """Headers of a reply. A stream that is gone meanwhile is ignored."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.ended or stream.ending:
            return
        try:
            self._h2.send_headers(stream_id, [(":status", str(status)), *headers], end_stream=end)
        except h2.exceptions.H2Error:
            self._forget(stream_id)
            return
        if end:
            stream.ended = True
            self._finish(stream_id, stream)

    def send_body(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """Queue body bytes; `end` finishes our part. A stream that is gone meanwhile is ignored."""
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.ended and not stream.ending:
            self._queue(stream_id, stream, data, end=end)

    def reset(self, stream_id: int, code: int = int(h2.errors.ErrorCodes.CANCEL)) -> None:
        """Abort a stream at once; what is queued is dropped."""
        if stream_id not in self._streams:
            return
        with contextlib.suppress(h2.exceptions.H2Error):  # already closed on both sides: nothing to tell
            self._h2.reset_stream(stream_id, code)
        self._forget(stream_id)

    def ping(self, payload: bytes) -> None:
        """Send an HTTP/2 PING (8 bytes); its answer needs no care."""
        self._h2.ping(payload)

    def close(self) -> None:
        """Say goodbye (GOAWAY)."""
        try:
            self._h2.close_connection()
        except h2.exceptions.H2Error:
            self.goodbye = self.goodbye or "connection is closed"

    def _queue(self, stream_id: int, stream: _Stream, data: bytes, *, end: bool) -> None:
        if data:
            stream.queue.append(memoryview(data))
            stream.queued += len(data)
        stream.ending = end
        self._flush(stream_id, stream)

    def _flush(self, stream_id: int, stream: _Stream) -> None:
        had_data = stream.queued > 0
        try:
            while stream.queue:
                window = min(self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size)
                if window <= 0:
                    return
                self._send_part(stream_id, stream, window)
            if stream.ending and not stream.ended:
                if not had_data:
                    self._h2.end_stream(stream_id)
                stream.ended = True
                self._finish(stream_id, stream)
        except h2.exceptions.H2Error:
            self._give_up(stream_id, stream)
            return
        if had_data and not stream.ending:
            self._events.append(StreamDrained(stream_id))

    def _give_up(self, stream_id: int, stream: _Stream) -> None:
        """The other side closed the stream while we sent; a client has yet to hear why."""
        stream.queue.clear()
        stream.queued = 0
        stream.ended = True
        if not self._client or stream.remote_done:
            self._forget(stream_id)

    def _send_part(self, stream_id: int, stream: _Stream, window: int) -> None:
        data = stream.queue.popleft()
        if len(data) > window:
            stream.queue.appendleft(data[window:])
            data = data[:window]
        stream.queued -= len(data)
        self._h2.send_data(stream_id, data, end_stream=stream.ending and not stream.queue)

    def _finish(self, stream_id: int, stream: _Stream) -> None:
        if stream.remote_done:
            self._forget(stream_id)

    def _forget(self, stream_id: int) -> None:
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            self._bodies_size -= stream.body_size

    # receiving

    def receive_data(self, data: bytes) -> None:
        """Raises `DecodeError` when the connection is unusable; `data_to_send` may then hold a GOAWAY."""
        try:
            events = self._h2.receive_data(data)
        except (h2.exceptions.H2Error, HyperframeError, ValueError, KeyError, IndexError) as error:
            raise DecodeError(DecodeReason.UNEXPECTED, f"HTTP/2: {str(error)[:100]}") from None
        for event in events:
            self._receive_event(event)

    def _receive_event(self, event: Any) -> None:
        match event:
            case h2.events.RequestReceived():
                self._receive_request(event.stream_id, event.headers)
            case h2.events.ResponseReceived():
                self._receive_response(event.stream_id, event.headers)
            case h2.events.DataReceived():
                self._receive_body(event)
            case h2.events.StreamEnded():
                self._receive_end(event.stream_id)
            case h2.events.StreamReset():
                if event.stream_id in self._streams:
                    self._events.append(StreamFailed(event.stream_id, int(event.error_code or 0)))
                    self._forget(event.stream_id)
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                self._flush_all()
            case h2.events.ConnectionTerminated():
                self.goodbye = f"peer closed the connection, code {int(event.error_code or 0)}"

    def _flush_all(self) -> None:
        for stream_id, stream in tuple(self._streams.items()):
            if stream.queue:
                self._flush(stream_id, stream)

    def _receive_request(self, stream_id: int, fields: Iterable[tuple[bytes, bytes]]) -> None:
        headers = _headers(fields)
        pseudo = dict(headers)
        stream = _Stream(method=pseudo.get(":method", ""), path=pseudo.get(":path", ""))
        stream.headers = tuple((name, value) for name, value in headers if not name.startswith(":"))
        self._streams[stream_id] = stream

    def _receive_response(self, stream_id: int, fields: Iterable[tuple[bytes, bytes]]) -> None:
        if stream_id not in self._streams:
            return
        headers = _headers(fields)
        status = dict(headers).get(":status", "")
        plain = tuple((name, value) for name, value in headers if not name.startswith(":"))
        number = int(status) if status.isascii() and status.isdigit() and len(status) == 3 else 0
        self._events.append(ResponseStarted(stream_id, number, plain))

    def _receive_body(self, event: h2.events.DataReceived) -> None:
        self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        stream = self._streams.get(event.stream_id)
        if stream is None or stream.refused:
            return
        if self._client:
            self._events.append(BodyReceived(event.stream_id, event.data))
            return
        stream.body_size += len(event.data)
        self._bodies_size += len(event.data)
        if stream.body_size > MAX_REQUEST_BODY or self._bodies_size > MAX_REQUEST_BODIES:
            self._refuse(event.stream_id, stream)
        else:
            stream.body.append(event.data)

    def _refuse(self, stream_id: int, stream: _Stream) -> None:
        stream.refused = True
        stream.body.clear()
        self.send_response(stream_id, 413, (("content-type", "text/plain"),))
        self.send_body(stream_id, b"request body is too large\n", end=True)
        self.reset(stream_id, int(h2.errors.ErrorCodes.NO_ERROR))

    def _receive_end(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is None or stream.refused:
            return
        stream.remote_done = True
        if self._client:
            self._events.append(StreamEnded(stream_id))
        else:
            body = b"".join(stream.body)
            stream.body.clear()
            self._bodies_size -= stream.body_size
            stream.body_size = 0
            self._events.append(RequestReceived(stream_id, stream.method, stream.path, stream.headers, body))
        if stream.ended:
            self._forget(stream_id)


def _headers(fields: Iterable[tuple[bytes, bytes]]) -> Headers:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in fields)
