"""What can be registered at the front listener: plain replies, and paths that take over the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

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


RawRoute = Callable[[asyncio.Transport, RequestHead, bytes], None]
"""Takes over a connection whose request head was read (DERP, ts2021): (transport, head, bytes behind the head).

Called in the loop's thread. The callee owns the transport from now on: it answers, sets its own protocol, or closes.
"""


@dataclass
class Routes:
    """Exact paths. `plain` by (method, path); HEAD falls back to GET without its body. `raw` by path, any method.

    `prefixes` are for what no exact path serves; a prefix ends with a slash.
    """

    plain: dict[tuple[str, str], PlainRoute] = field(default_factory=dict)
    raw: dict[str, RawRoute] = field(default_factory=dict)
    prefixes: dict[tuple[str, str], PlainRoute] = field(default_factory=dict)

    def find(self, method: str, path: str) -> PlainRoute | None:
        exact = self.plain.get((method, path))
        if exact is not None:
            return exact
        return next(
            (route for (known, prefix), route in self.prefixes.items() if known == method and path.startswith(prefix)),
            None,
        )

    def knows_path(self, path: str) -> bool:
        return path in self.raw or any(path == known for _, known in self.plain) or self._is_below(path)

    def _is_below(self, path: str) -> bool:
        return any(path.startswith(prefix) for _, prefix in self.prefixes)
