"""DERP inside WebSocket, for clients that can do nothing else: browsers, and those behind proxies (derp spec 1.4).

To the connection above it is a transport like any other: what it writes goes out as binary messages, what comes in is
one stream of bytes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from appliance.proto.http1.head import encode_response_head
from appliance.proto.websocket import (
    CloseCode,
    Message,
    Opcode,
    ServerParser,
    accept_value,
    encode_binary,
    encode_close,
    encode_control,
)
from appliance.types.errors import DecodeError

if TYPE_CHECKING:
    from appliance.proto.http1.head import RequestHead
    from control.derp.connection import DerpConnection

MAX_MESSAGE = 32 * 1024
"""Default read limit of common clients."""
PROTOCOL = "derp"


def upgrade_answer(head: RequestHead) -> bytes | None:
    """The 101 answer; None where the request is no WebSocket handshake (RFC 6455 section 4.2.1)."""
    key = head.header("sec-websocket-key")
    if head.method != "GET" or not key or head.header("sec-websocket-version") != "13":
        return None
    return encode_response_head(
        101,
        (
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept_value(key)),
            ("Sec-WebSocket-Protocol", PROTOCOL),
        ),
    )


class WebSocketTransport(asyncio.Transport):
    """Stands between a real transport, whose protocol it is too, and a DERP connection. `Stream` is its other face."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._stream: DerpConnection | None = None
        self._parser = ServerParser()
        self._closing = False
        transport.set_protocol(_Wire(self))

    # asyncio.Transport, for the connection above

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._stream = cast("DerpConnection", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._stream is not None
        return self._stream

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        parts = [encode_binary(bytes(view[at : at + MAX_MESSAGE])) for at in range(0, len(view), MAX_MESSAGE)]
        self._transport.write(b"".join(parts))

    def is_closing(self) -> bool:
        return self._closing or self._transport.is_closing()

    def close(self) -> None:
        self._end(CloseCode.GOING_AWAY)

    def abort(self) -> None:
        self._transport.abort()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._transport.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size()

    # From the wire

    def receive(self, data: bytes) -> None:
        """Bytes behind the upgrade."""
        try:
            messages = self._parser.feed(data)
        except DecodeError:
            return self._end(CloseCode.PROTOCOL)
        for message in messages:
            if self.is_closing():
                return
            self._take(message)

    def _take(self, message: Message) -> None:
        match message.opcode:
            case Opcode.BINARY | Opcode.CONTINUATION:
                if self._stream is not None and message.payload:
                    self._stream.data_received(message.payload)
            case Opcode.PING:
                # Not for a client that never reads: its answers would pile up.
                if self._transport.get_write_buffer_size() < MAX_MESSAGE:
                    self._transport.write(encode_control(Opcode.PONG, message.payload))
            case Opcode.CLOSE:
                self._end(CloseCode.NORMAL)
            case Opcode.TEXT:
                self._end(CloseCode.UNSUPPORTED)
            case Opcode.PONG:
                return

    def _end(self, code: CloseCode) -> None:
        """Say why, once, and close."""
        if not self._closing:
            self._closing = True
            self._transport.write(encode_close(code))
        self._transport.close()

    def stream(self) -> DerpConnection | None:
        return self._stream


class _Wire(asyncio.Protocol):
    """What the real transport calls."""

    def __init__(self, owner: WebSocketTransport) -> None:
        self._owner = owner

    def data_received(self, data: bytes) -> None:
        self._owner.receive(data)

    def pause_writing(self) -> None:
        stream = self._owner.stream()
        if stream is not None:
            stream.pause_writing()

    def resume_writing(self) -> None:
        stream = self._owner.stream()
        if stream is not None:
            stream.resume_writing()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        stream = self._owner.stream()
        if stream is not None:
            stream.connection_lost(exc)
