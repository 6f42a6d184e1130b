"""Answers the control server's ping requests: liveness by HEAD, and requests to the node, c2n (control-protocol 17).

Ping requests that name a peer need the data plane and are left to `peer_ping`, if the daemon gives one.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from appliance.netmap.connection import ControlConnection
from appliance.ports.streams import StreamDialer, TlsPolicy
from appliance.proto.control import messages as wire
from appliance.proto.http1.head import (
    RequestHead,
    encode_request_head,
    encode_response,
    parse_request_head,
)
from appliance.types.errors import ControlError

HEAD_TIMEOUT_S = 15.0

HANDLER_TIMEOUT_S = 60.0
MAX_REPLY_BYTES = (1 << 20) - 4096
_TIMEOUT_HEADER = "c2n-handler-timeout"
_DURATION = re.compile(r"(\d{1,6})(ms|s|m)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}

C2nReply = tuple[int, str, bytes]
"""Status, content type, body."""
C2nHandler = Callable[[RequestHead, bytes], C2nReply | Awaitable[C2nReply]]
"""(request head, body) -> reply."""
PeerPing = Callable[[wire.PingRequest], Awaitable[tuple[wire.PingResponse, ...]]]


class PingResponder:
    """`c2n` maps paths to handlers; `/echo` is always there."""

    def __init__(
        self,
        dialer: StreamDialer,
        *,
        ca_file: str = "",
        c2n: Mapping[str, C2nHandler] | None = None,
        peer_ping: PeerPing | None = None,
    ) -> None:
        self._dialer = dialer
        self._ca_file = ca_file
        self._c2n = {"/echo": _echo, **(c2n or {})}
        self._peer_ping = peer_ping
        self._last_url = ""

    def is_new(self, request: wire.PingRequest) -> bool:
        """A repeat of the last URL is to be ignored."""
        fresh = bool(request.url) and request.url != self._last_url
        self._last_url = request.url or self._last_url
        return fresh

    async def answer(self, request: wire.PingRequest, connection: ControlConnection) -> None:
        """Raises `ControlError`, `DecodeError` and OSError; the caller drops the request then."""
        path = target_of(request.url)
        if request.types == "":
            if request.url_is_noise:
                await connection.request("HEAD", path)
            else:
                await self._head(request.url, path)
        elif request.types == "c2n":
            await connection.request("POST", path, await self.handle(request.payload))
        elif self._peer_ping is not None:
            for response in await self._peer_ping(request):
                await connection.request("POST", path, wire.encode(response))

    async def handle(self, payload: bytes) -> bytes:
        """Run a serialised HTTP/1.1 request; returns the serialised response. Raises `DecodeError`."""
        parsed = parse_request_head(payload)
        if parsed is None:
            return encode_response(400, b"incomplete request")
        head, size = parsed
        handler = self._c2n.get(head.path)
        if handler is None:
            return encode_response(400, b"unknown c2n path")
        reply = handler(head, payload[size : size + (head.content_length() or 0)])
        try:
            async with asyncio.timeout(_limit_s(head)):
                status, content_type, body = await reply if inspect.isawaitable(reply) else reply
        except TimeoutError:
            return encode_response(504, b"the handler took too long")
        if len(body) > MAX_REPLY_BYTES:
            return encode_response(507, b"the answer is too long")
        return encode_response(status, body, content_type)

    async def _head(self, url: str, path: str) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        tls = TlsPolicy(host, ca_file=self._ca_file) if parts.scheme == "https" else None
        port = parts.port or (443 if tls is not None else 80)
        stream = await self._dialer.dial(host, port, tls=tls, timeout_s=HEAD_TIMEOUT_S)
        try:
            stream.write(encode_request_head("HEAD", path, (("Host", parts.netloc), ("Connection", "close"))))
            await stream.drain()
            await stream.read()
        finally:
            stream.close()


def target_of(url: str) -> str:
    """Path and query of a ping URL. Raises `ControlError` when it is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ControlError("the control server sent a ping request with a bad URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ControlError("the control server sent a ping request with a bad URL")
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _limit_s(head: RequestHead) -> float:
    """A duration such as `30s`; without a good one the usual limit."""
    match = _DURATION.fullmatch(head.header(_TIMEOUT_HEADER) or "")
    return int(match[1]) * _SECONDS[match[2]] if match is not None else HANDLER_TIMEOUT_S


def _echo(head: RequestHead, body: bytes) -> C2nReply:
    return 200, head.header("content-type") or "text/plain", body
