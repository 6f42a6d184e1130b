"""Which handler answers which path of the peer API (apps spec 1.4): prefixes first, then exact paths, then `/`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from appliance.peerapi.caller import Caller


@dataclass(frozen=True, slots=True)
class PeerRequest:
    """A request that passed all checks. A handler still decides whether this caller may have what it asks for.

    Bodies are read from `http`: whole ones up to 1 MiB with `read()`, larger ones in pieces from `content`.
    """

    http: web.BaseRequest
    caller: Caller


PeerHandler = Callable[[PeerRequest], Awaitable[web.StreamResponse]]


class PeerRoutes:
    """A path belongs to one handler. Adding to it again raises `ValueError`."""

    def __init__(self) -> None:
        self._exact: dict[str, PeerHandler] = {}
        self._prefixes: dict[str, PeerHandler] = {}

    def add(self, path: str, handler: PeerHandler) -> None:
        """`path` ending in `/` (but `/` itself) takes everything below it."""
        table = self._prefixes if path.endswith("/") and path != "/" else self._exact
        if path in table:
            raise ValueError(f"the peer API path {path} has a handler already")
        table[path] = handler

    def find(self, path: str) -> PeerHandler | None:
        """The longest prefix wins."""
        fitting = [prefix for prefix in self._prefixes if path.startswith(prefix)]
        return self._prefixes[max(fitting, key=len)] if fitting else self._exact.get(path)
