"""DNS over TLS (RFC 7858): all questions to one resolver share a connection, and answers come in any order."""

from __future__ import annotations

import ssl
import struct

from plugins.magicdns.doh import MIN_BYTES
from plugins.magicdns.errors import UpstreamError
from plugins.magicdns.kept import Connection, Connections, Exchange
from plugins.magicdns.reach import Resolve
from plugins.magicdns.trust import Trust
from plugins.magicdns.upstream import Upstream

MAX_ASKED = 4096
_NUMBER = struct.Struct(">H")
_HEAD = struct.Struct(">HH")
"""Length of what follows, and the message's id."""


class _Connection(Connection[Exchange]):
    """Every question has an id of its own here (RFC 7766 section 6.2.1), whatever its asker chose."""

    def __init__(self, _upstream: Upstream, context: ssl.SSLContext) -> None:
        super().__init__(context)
        self._next = 0
        self._received = bytearray()

    def data_received(self, data: bytes) -> None:
        self._heard += 1
        self._received += data
        start = 0
        while len(self._received) >= start + _NUMBER.size:
            (length,) = _NUMBER.unpack_from(self._received, start)
            if length < MIN_BYTES:  # no DNS message: whatever follows may begin anywhere
                self.abort()
                return
            end = start + _NUMBER.size + length
            if len(self._received) < end:
                break
            (number,) = _NUMBER.unpack_from(self._received, start + _NUMBER.size)
            if (exchange := self._answered(number)) is not None:
                exchange.succeed(bytes(self._received[start + _NUMBER.size : end]))
            start = end
        del self._received[:start]

    def _send(self, message: bytes) -> tuple[int, Exchange]:
        if len(self._exchanges) >= MAX_ASKED:
            raise UpstreamError("has too many questions to answer already")
        while self._next in self._exchanges:
            self._next = (self._next + 1) & 0xFFFF
        number, self._next = self._next, (self._next + 1) & 0xFFFF
        self._transport.write(_HEAD.pack(len(message), number) + message[2:])
        return number, Exchange(self._loop.create_future())


class DotClient(Connections[_Connection]):
    def __init__(self, resolve: Resolve, trust: Trust) -> None:
        super().__init__(resolve, trust, _Connection)

    async def post(self, upstream: Upstream, message: bytes) -> bytes:
        """The answer, with the id of `message`."""
        return message[:2] + (await super().post(upstream, message))[2:]
