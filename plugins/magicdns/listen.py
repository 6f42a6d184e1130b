"""Takes queries by UDP and TCP at one address and gives the resolver's replies."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

from appliance.proto.dns import build_reply, error_reply, parse_query
from appliance.proto.dns.numbers import FORMERR, NOTIMP, REFUSED, SERVFAIL
from appliance.proto.dns.query import MAX_QUERY_BYTES, Query
from appliance.types.errors import DecodeError, DecodeReason
from plugins.magicdns.resolver import Client, Resolver

BATCH = 64
"""Datagrams taken at one go, so that other work has its turn."""
MAX_WAITING = 256
MAX_CONNECTIONS = 64
ACCEPT_PAUSE_S = 0.05
IDLE_S = 45.0
_LENGTH = struct.Struct(">H")

Judge = Callable[[str], Client | None]
"""Who has that source address; None: nobody whom we answer."""


class Listener:
    """Owns its two sockets. Belongs to one event loop."""

    def __init__(self, datagrams: socket.socket, stream: socket.socket, resolver: Resolver, judge: Judge) -> None:
        self._datagrams = datagrams
        self._stream = stream
        self._resolver = resolver
        self._judge = judge
        self._group: asyncio.TaskGroup | None = None
        self._waiting = 0
        self._connections = 0

    async def run(self) -> None:
        """Until cancelled; closes the sockets."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                loop.add_reader(self._datagrams.fileno(), self._readable)
                while True:
                    try:
                        connection, source = await loop.sock_accept(self._stream)
                    except OSError:  # the client is gone already, or descriptors are short for a moment
                        await asyncio.sleep(ACCEPT_PAUSE_S)
                        continue
                    group.create_task(self._connected(connection, source))
        finally:
            loop.remove_reader(self._datagrams.fileno())
            self._datagrams.close()
            self._stream.close()

    # UDP

    def _readable(self) -> None:
        receive, judge, quick = self._datagrams.recvfrom, self._judge, self._resolver.quick
        for _ in range(BATCH):
            try:
                data, source = receive(MAX_QUERY_BYTES + 1)
            except OSError:  # nothing waits, or an ICMP error of a reply that nobody wanted
                return
            client = judge(source[0])
            parsed = self._parsed(data, client)
            if isinstance(parsed, bytes):
                self._send(parsed, source)
            elif parsed is not None and client is not None:
                reply = quick(parsed, client)
                if reply is not None:
                    self._send(self._resolver.fitting(parsed, reply, client), source)
                else:
                    self._later(parsed, client, source)

    def _later(self, query: Query, client: Client, source: tuple[str, int]) -> None:
        if self._waiting >= MAX_WAITING or self._group is None:
            self._resolver.counters.too_many += 1
            self._send(build_reply(query, SERVFAIL, authoritative=False), source)
            return
        self._waiting += 1
        self._group.create_task(self._answered(query, client, source))

    async def _answered(self, query: Query, client: Client, source: tuple[str, int]) -> None:
        try:
            reply = await self._resolver.answer(query, client)
            self._send(self._resolver.fitting(query, reply, client), source)
        finally:
            self._waiting -= 1

    def _send(self, reply: bytes, source: tuple[str, int]) -> None:
        with suppress(OSError):  # the client is gone, or its buffer is full: it asks again
            self._datagrams.sendto(reply, source)

    # TCP

    async def _connected(self, connection: socket.socket, source: tuple[str, int]) -> None:
        client = self._judge(source[0])
        if client is None or self._connections >= MAX_CONNECTIONS:
            connection.close()
            return
        self._connections += 1
        try:
            reader, writer = await asyncio.open_connection(sock=connection)
            try:
                with suppress(OSError, EOFError, TimeoutError):
                    await self._converse(reader, writer, client)
            finally:
                writer.close()
        finally:
            self._connections -= 1

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: Client) -> None:
        while True:
            async with asyncio.timeout(IDLE_S):
                (length,) = _LENGTH.unpack(await reader.readexactly(2))
                if length > MAX_QUERY_BYTES:
                    return
                data = await reader.readexactly(length)
            parsed = self._parsed(data, client)
            if parsed is None:
                return
            if isinstance(parsed, bytes):
                reply = parsed
            else:
                found = self._resolver.quick(parsed, client)
                reply = found if found is not None else await self._resolver.answer(parsed, client, stream=True)
            async with asyncio.timeout(IDLE_S):
                writer.write(_LENGTH.pack(len(reply)) + reply)
                await writer.drain()

    # both

    def _parsed(self, data: bytes, client: Client | None) -> Query | bytes | None:
        """The query; or the reply to one that is none, or that comes from a stranger; or nothing to say."""
        try:
            query = parse_query(data)
        except DecodeError as error:
            self._resolver.counters.malformed += 1
            if client is None or error.reason is DecodeReason.BAD_TYPE:
                return None
            return error_reply(data, NOTIMP if error.reason is DecodeReason.UNEXPECTED else FORMERR)
        if client is None:
            self._resolver.counters.refused += 1
            return build_reply(query, REFUSED, authoritative=False)
        return query
