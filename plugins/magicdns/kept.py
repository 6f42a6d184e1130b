"""Connections to resolvers that many questions share, each kept until nobody has used it for a while."""

from __future__ import annotations

import asyncio
import ssl
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from plugins.magicdns.errors import UpstreamError
from plugins.magicdns.reach import Resolve, reach
from plugins.magicdns.trust import Trust, judged
from plugins.magicdns.upstream import Upstream

IDLE_S = 10.0
"""How long a connection is kept that nobody uses."""
STRIKES = 3
"""So many connections in a row that ended after a single answer, with more asked, are a resolver's custom."""
CLOSED = "closed the connection without an answer"


class LostError(UpstreamError):
    """The connection ended before the answer came."""


@dataclass(slots=True)
class Exchange:
    """A question on its way."""

    result: asyncio.Future[bytes]

    def fail(self, error: UpstreamError) -> None:
        if not self.result.done():
            self.result.set_exception(error)

    def succeed(self, answer: bytes) -> None:
        if not self.result.done():
            self.result.set_result(answer)


Asked = TypeVar("Asked", bound=Exchange)


class Connection(asyncio.Protocol, Generic[Asked]):
    """`usable`: it takes further questions. `answers`: how many it has given. Closes itself when nobody has used it
    for a while."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.usable = False
        self.ended = asyncio.Event()
        self.answers = 0
        self._loop = asyncio.get_running_loop()
        self._exchanges: dict[int, Asked] = {}
        self._heard = 0
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.usable = True

    def settle(self) -> None:
        """Raises `UpstreamError` when what the two sides agreed on is of no use."""

    def eof_received(self) -> None:
        self.usable = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        for exchange in self._exchanges.values():
            exchange.fail(LostError(CLOSED))
        self._exchanges.clear()
        self._rest()
        self.ended.set()

    async def post(self, message: bytes) -> bytes:
        """Raises `UpstreamError`."""
        if not self.usable:
            raise LostError(CLOSED)
        number, exchange = self._send(message)
        self._exchanges[number] = exchange
        if self._idle is not None:
            self._idle.cancel()
        heard = self._heard
        try:
            return await exchange.result
        finally:
            if self._exchanges.pop(number, None) is not None:  # nobody waits for it any more
                self._leave(number)
                self.usable = self.usable and self._heard != heard
            self._rest()

    def abort(self) -> None:
        self.usable = False
        self._transport.abort()

    @abstractmethod
    def _send(self, message: bytes) -> tuple[int, Asked]:
        """Send a question; its number on this connection. Raises `UpstreamError`."""

    def _leave(self, number: int) -> None:
        """Its answer is no longer wanted."""

    def _answered(self, number: int) -> Asked | None:
        """The exchange with this number, which is over; None when nobody waits for it."""
        self.answers += 1
        return self._exchanges.pop(number, None)

    def _rest(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if not self._exchanges and not self._transport.is_closing():
            self._idle = self._loop.call_later(IDLE_S if self.usable else 0, self._transport.close)


Made = TypeVar("Made", bound=Connection[Any])


class Connections(Generic[Made]):
    """One to each resolver, where that lets questions share it. Belongs to one event loop."""

    def __init__(
        self,
        resolve: Resolve,
        trust: Trust,
        make: Callable[[Upstream, ssl.SSLContext], Made],
        protocols: tuple[str, ...] = (),
    ) -> None:
        self._resolve = resolve
        self._trust = trust
        self._make = make
        self._protocols = protocols
        self._shared: dict[Upstream, Made] = {}
        self._connecting: dict[Upstream, asyncio.Lock] = {}
        self._open: set[Made] = set()
        self._strikes: Counter[Upstream] = Counter()

    async def post(self, upstream: Upstream, message: bytes) -> bytes:
        """The answer to `message`. Raises `UpstreamError` and OSError."""
        while self._strikes[upstream] < STRIKES:
            shared = self._kept(upstream)
            if shared is None:
                async with self._connecting.setdefault(upstream, asyncio.Lock()):
                    shared = self._kept(upstream) or await self._connect(upstream)
                    self._shared[upstream] = shared
            try:
                answer = await shared.post(message)
            except LostError:
                if not shared.answers:
                    raise
                self._lost(upstream, shared)  # says nothing of the resolver, which may close what was not used: again
                continue
            if shared.answers > 1:
                self._strikes.pop(upstream, None)
            return answer
        alone = await self._connect(upstream)
        try:
            return await alone.post(message)
        finally:
            alone.abort()

    async def close(self) -> None:
        connections = tuple(self._open)
        self._shared.clear()
        for connection in connections:
            connection.abort()
        for connection in connections:
            await connection.ended.wait()

    def _kept(self, upstream: Upstream) -> Made | None:
        kept = self._shared.get(upstream)
        trusted = kept is not None and kept.context is self._trust.context(*self._protocols)
        return kept if kept is not None and kept.usable and trusted else None

    def _lost(self, upstream: Upstream, shared: Made) -> None:
        if self._shared.get(upstream) is shared:  # many may have asked
            del self._shared[upstream]
            self._strikes[upstream] += shared.answers == 1

    async def _connect(self, upstream: Upstream) -> Made:
        context, loop, name = self._trust.context(*self._protocols), asyncio.get_running_loop(), upstream.server_name

        async def connect(address: str) -> Made:
            _, made = await loop.create_connection(
                lambda: self._make(upstream, context), address, upstream.port, ssl=context, server_hostname=name
            )
            return made

        with judged():
            made = await reach(upstream, self._resolve, connect)
        self._open = {made, *(each for each in self._open if not each.ended.is_set())}
        try:
            made.settle()
        except UpstreamError:
            made.abort()
            await made.ended.wait()
            raise
        return made
