"""DNS over TLS against a server of the test's own: a connection that many questions share."""

from __future__ import annotations

import asyncio
import itertools
import ssl
import struct
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.proto.dns import build_query, encode_name
from plugins.magicdns.dot import _Connection
from plugins.magicdns.errors import UntrustedError, UpstreamError
from plugins.magicdns.kept import STRIKES
from plugins.magicdns.tests.scripted import Scripted, certificate_file
from plugins.magicdns.tests.tls import NAME, TlsServer, server_context, serving_tls, transports
from plugins.magicdns.tests.wire import Wire
from plugins.magicdns.transports import Transports
from plugins.magicdns.upstream import Kind, Upstream

HOSTS = 6
ZONE = {(f"h{number}.example", "A"): (f"192.0.2.{number}",) for number in range(HOSTS)}


@dataclass
class Server(TlsServer):
    """`batch`: so many questions are collected, then answered from the last to the first. `only`: answers until it
    closes the connection. `silent`: questions are read and not answered. `raw`: sent instead of an answer."""

    batch: int = 1
    only: int = 0
    silent: bool = False
    raw: bytes = b""
    made: int = 0
    ids: list[bytes] = field(default_factory=list)


class Conversation(asyncio.Protocol):
    def __init__(self, server: Server) -> None:
        self._server = server
        self._received = b""
        self._asked: list[bytes] = []
        self._answers = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.made += 1
        self._server.connections.append(self._transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while len(self._received) > 2 and len(self._received) >= (end := 2 + int.from_bytes(self._received[:2], "big")):
            self._asked.append(self._received[2:end])
            self._server.ids.append(self._received[2:4])
            self._server.asked.set()
            self._received = self._received[end:]
        if self._server.silent or len(self._asked) < self._server.batch:
            return
        for message in reversed(self._asked):
            if self._server.only and self._answers == self._server.only:
                break
            answer = Scripted(ZONE).reply(message, stream=True)
            self._transport.write(self._server.raw or struct.pack(">H", len(answer)) + answer)
            self._answers += 1
        self._asked.clear()
        if self._answers == self._server.only:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.remove(self._transport)
        self._server.ended.set()


def serving(server: Server, certificate: Path) -> AbstractAsyncContextManager[Server]:
    return serving_tls(server, Conversation, server_context(certificate))


async def ask(ours: Transports, server: Server, number: int = 1) -> None:
    """Every asker has the same id."""
    question = encode_name(f"h{number}.example") + struct.pack(">HH", 1, 1)
    message = build_query(77, question, dnssec_ok=False, checking_disabled=False)
    reply = await ours.ask(Upstream(Kind.TLS, "127.0.0.1", server.port, NAME), message, question)
    assert reply.id == 77
    assert [str(address) for _, address, _ in reply.addresses()] == [f"192.0.2.{number}"]


async def ask_all(ours: Transports, server: Server) -> None:
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for number in range(HOSTS):
            group.create_task(ask(ours, server, number))


async def test_ok__questions_share_a_connection_and_answers_come_in_any_order(certificate: Path) -> None:
    async with serving(Server(batch=HOSTS), certificate) as server, transports(certificate) as ours:
        await ask_all(ours, server)
        await ask_all(ours, server)
        assert server.made == 1
        assert len(set(server.ids)) == 2 * HOSTS


@pytest.mark.parametrize("only", [1, 2, 4])
async def test_ok__a_server_that_closes_after_some_answers(certificate: Path, only: int) -> None:
    async with serving(Server(only=only), certificate) as server, transports(certificate) as ours:
        for _ in range(STRIKES + 1):
            await ask_all(ours, server)
        assert len(server.ids) >= HOSTS * (STRIKES + 1)


async def test_ok__a_server_that_was_started_anew(certificate: Path) -> None:
    server = Server()
    async with transports(certificate) as ours:
        for _ in range(STRIKES + 2):
            async with serving(server, certificate):
                await ask_all(ours, server)
        assert server.made == STRIKES + 2


async def test_ok__a_silent_connection_is_left(certificate: Path) -> None:
    async with serving(Server(), certificate) as server, transports(certificate) as ours:
        await ask(ours, server)
        server.connections[0].pause_reading()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await ask(ours, server)
        await ask(ours, server)
        assert server.made == 2


@pytest.mark.parametrize("raw", [b"\0\0", b"\0\1x", b"\0\x0cabcdefghijkl"], ids=["empty", "one byte", "another id"])
async def test_fail__no_answer(certificate: Path, raw: bytes) -> None:
    async with serving(Server(raw=raw), certificate) as server, transports(certificate) as ours:
        with pytest.raises((UpstreamError, TimeoutError)):
            async with asyncio.timeout(0.5):
                await ask(ours, server)
        server.raw = b""
        await ask(ours, server)


async def test_fail__the_connection_ends(certificate: Path) -> None:
    async with serving(Server(silent=True), certificate) as server, transports(certificate) as ours:

        async def cut() -> None:
            await server.asked.wait()
            server.connections[0].abort()

        async with asyncio.TaskGroup() as group:
            group.create_task(cut())
            with pytest.raises(UpstreamError, match="closed the connection"):
                await ask(ours, server)


async def test_fail__a_ca_that_counts_no_more(certificate: Path, tmp_path: Path) -> None:
    other = certificate_file(tmp_path, "other.example")
    async with serving(Server(), certificate) as server, transports(certificate) as ours:
        await ask(ours, server)
        ours.trust.set_ca_file(str(other))
        with pytest.raises(UntrustedError):
            await ask(ours, server)


def connected() -> tuple[_Connection, Wire]:
    wire = Wire()
    connection = _Connection(Upstream(Kind.TLS, "", 853, NAME), ssl.create_default_context())
    connection.connection_made(wire)
    return connection, wire


async def test_ok__an_answer_that_came_too_late_disturbs_nobody() -> None:
    connection, wire = connected()
    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(connection.post(b"??" + bytes([number]) * 10)) for number in range(3)]
        await asyncio.sleep(0)  # all have asked
        connection.data_received(wire.written[1])
        assert (await asking[1])[2:] == bytes([1]) * 10
        asking[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking[0]
        assert connection.usable, "it has answered somebody meanwhile"
        connection.data_received(wire.written[0] + wire.written[2][:5])
        connection.data_received(wire.written[2][5:])
        assert (await asking[2])[2:] == bytes([2]) * 10
    connection.connection_lost(None)


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=400), cuts=st.lists(st.integers(0, 400), max_size=6))
def test_ok__any_bytes_from_the_resolver(data: bytes, cuts: list[int]) -> None:
    async def receive() -> None:
        connection, wire = connected()
        places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
        for start, end in itertools.pairwise(places):
            if not wire.cut:
                connection.data_received(data[start:end])
        connection.connection_lost(None)
        assert connection.ended.is_set()

    asyncio.run(receive())
