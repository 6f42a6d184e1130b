"""One exchange with one upstream resolver: UDP, TCP, TLS, HTTPS. Timeouts are the caller's."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

from appliance.proto.dns import Reply, parse_reply
from appliance.types.errors import DecodeError
from plugins.magicdns.doh import DohClient
from plugins.magicdns.dot import DotClient
from plugins.magicdns.errors import UpstreamError
from plugins.magicdns.kept import CLOSED
from plugins.magicdns.reach import Resolve
from plugins.magicdns.trust import Trust
from plugins.magicdns.upstream import Kind, Upstream

RESEND_S = (1.0, 2.5)
"""How long a datagram brings no answer until it is sent again, each time."""
_LENGTH = struct.Struct(">H")
MAX_DATAGRAM = 65535


class Transports:
    """`resolve` looks names of upstreams up. Raises `UpstreamError`, OSError and `DecodeError`."""

    def __init__(self, resolve: Resolve) -> None:
        self.trust = Trust()
        self._doh = DohClient(resolve, self.trust)
        self._dot = DotClient(resolve, self.trust)

    async def close(self) -> None:
        await self._doh.close()
        await self._dot.close()

    async def ask(self, upstream: Upstream, message: bytes, key: bytes, *, stream: bool = False) -> Reply:
        """The reply to `message`, whose lower-case question is `key`. `stream`: no UDP."""
        match upstream.kind:
            case Kind.PLAIN if not stream:
                return await _ask_udp(upstream, message, key)
            case Kind.PLAIN:
                return await _ask_tcp(upstream, message, key)
            case Kind.TLS:
                return accepted(await self._dot.post(upstream, message), message, key)
        return await self._ask_https(upstream, message, key)

    async def _ask_https(self, upstream: Upstream, message: bytes, key: bytes) -> Reply:
        # Without an id of its own a query can be answered from the cache of a proxy (RFC 8484 section 4.1).
        data = await self._doh.post(upstream, b"\0\0" + message[2:])
        return accepted(message[:2] + data[2:], message, key)


def accepted(data: bytes, message: bytes, key: bytes) -> Reply:
    """The reply, if it is one to this query; letters' case does not count. Raises `DecodeError` and `UpstreamError`."""
    reply = parse_reply(data)
    if data[:2] != message[:2] or reply.key != key:
        raise UpstreamError("the answer is to another question")
    return reply


class _Datagrams:
    """One query by UDP from a port of its own: what does not fit is ignored, for anybody can send it."""

    def __init__(self, message: bytes, key: bytes, sock: socket.socket) -> None:
        self._message, self._key, self._sock = message, key, sock
        self._loop = asyncio.get_running_loop()
        self._pauses = iter(RESEND_S)
        self._again: asyncio.TimerHandle | None = None
        self.result: asyncio.Future[Reply] = self._loop.create_future()

    def send(self) -> None:
        """Now, and again while nothing comes."""
        if self.result.done():
            return
        try:
            self._sock.send(self._message)
        except OSError as error:
            self.result.set_exception(error)
            return
        pause = next(self._pauses, None)
        self._again = self._loop.call_later(pause, self.send) if pause is not None else None

    def stop(self) -> None:
        if self._again is not None:
            self._again.cancel()
        if self.result.done() and not self.result.cancelled():
            self.result.exception()  # whoever was cancelled meanwhile does not look at it

    def readable(self) -> None:
        if self.result.done():
            return
        try:
            self.result.set_result(accepted(self._sock.recv(MAX_DATAGRAM), self._message, self._key))
        except (BlockingIOError, DecodeError, UpstreamError):
            return
        except OSError as error:  # the port is closed there, or there is no way
            self.result.set_exception(error)


async def _ask_tcp(upstream: Upstream, message: bytes, key: bytes) -> Reply:
    reader, writer = await asyncio.open_connection(upstream.address, upstream.port)
    try:
        writer.write(_LENGTH.pack(len(message)) + message)
        await writer.drain()
        (length,) = _LENGTH.unpack(await reader.readexactly(2))
        return accepted(await reader.readexactly(length), message, key)
    except asyncio.IncompleteReadError:
        raise UpstreamError(CLOSED) from None
    finally:
        writer.close()
        with suppress(OSError, asyncio.CancelledError):
            writer.transport.abort()


async def _ask_udp(upstream: Upstream, message: bytes, key: bytes) -> Reply:
    family = socket.AF_INET6 if ":" in upstream.address else socket.AF_INET
    loop = asyncio.get_running_loop()
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.connect((upstream.address, upstream.port))
        datagrams = _Datagrams(message, key, sock)
        loop.add_reader(sock.fileno(), datagrams.readable)
        try:
            datagrams.send()
            return await datagrams.result
        finally:
            loop.remove_reader(sock.fileno())
            datagrams.stop()
