"""What can be registered at the front listener: plain replies, and paths that take over the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from appliance.proto.http1.head import Headers, RequestHead

MAX_PLAIN_BODY = 65536


@dataclass(frozen=True, slots=True)
class PlainRequest:
    """A whole request. `remote_ip` is the peer's address as text."""

    head: RequestHead
    body: bytes
    remote_ip: str


@dataclass(frozen=True, slots=True)
class PlainResponse:
    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Headers = ()


PlainRoute = Callable[[PlainRequest], Awaitable[PlainResponse]]


class RawRoute(Protocol):
    """Takes over a connection whose request head was read (DERP, ts2021)."""

    def __call__(self, transport: asyncio.Transport, head: RequestHead, leftover: bytes) -> asyncio.Protocol | None:
        """The protocol that owns the connection from now on; None = refused, an answer was written, close.

        Called in the loop's thread. The front calls `transport.set_protocol`, then `connection_made(transport)` and,
        when there is any, `data_received(leftover)` on what is returned.
        """
        ...


@dataclass
class Routes:
    """Exact paths. `plain` by (method, path); HEAD falls back to GET without its body. `raw` by path, any method."""

    plain: dict[tuple[str, str], PlainRoute] = field(default_factory=dict)
    raw: dict[str, RawRoute] = field(default_factory=dict)

    def knows_path(self, path: str) -> bool:
        return path in self.raw or any(path == known for _, known in self.plain)
