"""HTTP/1.1 in front of a stand-alone DERP server: routes by path, hands `/derp` over with all bytes (derp spec 12)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from appliance.drivers.listening import Arrival
from appliance.proto.derp.upgrade import PATH
from appliance.proto.http1.head import encode_response, parse_request_head
from appliance.types.errors import DecodeError
from control.derp.endpoints import Reply, plain_reply
from control.derp.server import peer_ip

if TYPE_CHECKING:
    from appliance.proto.http1.head import RequestHead
    from control.derp.server import DerpServer

ANY_PATH = "*"
"""Names the page for every path that has none of its own."""
Page = Callable[["RequestHead"], Reply]

REQUEST_TIMEOUT_S = 30.0
MAX_UNREAD = 65536
"""Answers that a client may leave unread before it is dropped."""
_HOME = b"This is a DERP relay of a private mesh network.\n"


class HttpFront(Arrival):
    """A connection until it becomes DERP; requests for small pages are answered one after the other.

    `pages` are further ones by path; with `relay` False they are all there is.
    """

    def __init__(self, server: DerpServer, pages: Mapping[str, Page], *, relay: bool = True) -> None:
        self._server = server
        self._pages = pages
        self._relay = relay
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._ip = ""

    def connection_made(self, made: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, made)  # other loops' transports are no subclasses
        self.made = transport
        self._ip = peer_ip(transport)
        if not self._server.arrivals.admit(self):
            transport.abort()
            return
        if not self._server.reserve(self._ip):
            self._server.counters.closed["too_many"] += 1
            transport.abort()
            return
        self._transport = transport
        self._wait()

    def _wait(self) -> None:
        self._server.wheel.set(self, self._server.clock.now() + REQUEST_TIMEOUT_S)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._transport is not None and self._buffer:
            try:
                found = parse_request_head(self._buffer)
            except DecodeError:
                return self._refuse(400)
            if found is None:
                return
            head, size = found
            self._buffer = self._buffer[size:]
            self._answer(self._transport, head)

    def _answer(self, transport: asyncio.Transport, head: RequestHead) -> None:
        if head.path == PATH and self._relay:
            self._leave()
            leftover, self._buffer = self._buffer, b""
            return self._server.upgrade(transport, head, leftover)
        if head.header("content-length") not in (None, "0") or head.header("transfer-encoding") is not None:
            return self._refuse(400)
        reply = self._reply(head)
        transport.write(reply.encode(head_only=head.method == "HEAD"))
        if transport.get_write_buffer_size() > MAX_UNREAD:
            transport.abort()
            self._leave()
        elif head.keep_alive:
            self._wait()
        else:
            transport.close()
            self._leave()

    def _reply(self, head: RequestHead) -> Reply:
        page = self._pages.get(head.path) or self._pages.get(ANY_PATH)
        if page is not None:
            return page(head)
        return (plain_reply(head) if self._relay else None) or _page(head)

    def _refuse(self, status: int) -> None:
        transport = self._transport
        assert transport is not None
        self._server.counters.closed["bad_request"] += 1
        transport.write(encode_response(status, b"", "text/plain", ("Connection", "close")))
        transport.close()
        self._leave()

    def _leave(self) -> None:
        """The connection is no longer ours."""
        if self._transport is not None:
            self._transport = None
            self._server.wheel.discard(self)
            self._server.release(self._ip)

    def handle_due(self, now: float) -> None:
        """No request in time."""
        if self._transport is not None:
            self._server.counters.closed["request_timeout"] += 1
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.made = None
        self._leave()


def _page(head: RequestHead) -> Reply:
    if head.path == "/" and head.method in ("GET", "HEAD"):
        return Reply(200, (("Content-Type", "text/plain"),), _HOME)
    return Reply(404, (("Content-Type", "text/plain"),), b"not found\n")
