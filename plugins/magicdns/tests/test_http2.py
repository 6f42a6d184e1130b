"""DNS over HTTPS by HTTP/2 against a server of the test's own, over TLS on loopback."""

from __future__ import annotations

import asyncio
import struct
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from appliance.proto.control.http2 import Http2
from appliance.proto.control.tunnel_events import RequestReceived
from appliance.proto.dns import build_query, encode_name
from plugins.magicdns.doh import TYPE
from plugins.magicdns.errors import UntrustedError, UpstreamError
from plugins.magicdns.tests.scripted import Scripted, certificate_file
from plugins.magicdns.tests.tls import NAME, TlsServer, server_context, serving_tls, transports
from plugins.magicdns.transports import Transports
from plugins.magicdns.upstream import Kind, Upstream

QUESTION = encode_name("web.example") + struct.pack(">HH", 1, 1)
MESSAGE = build_query(77, QUESTION, dnssec_ok=False, checking_disabled=False)
ZONE = {("web.example", "A"): ("192.0.2.1",)}


@dataclass
class Server(TlsServer):
    """Speaks HTTP/2 alone. `silent`: questions are read and not answered."""

    status: int = 200
    kind: str = TYPE
    body: bytes | None = None
    silent: bool = False
    requests: list[RequestReceived] = field(default_factory=list)


class Conversation(asyncio.Protocol):
    def __init__(self, server: Server) -> None:
        self._server = server
        self._http2 = Http2(client=False)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.connections.append(self._transport)

    def data_received(self, data: bytes) -> None:
        self._http2.receive_data(data)
        while (event := self._http2.next_event()) is not None:
            if isinstance(event, RequestReceived):
                self._server.requests.append(event)
                self._server.asked.set()
                if not self._server.silent:
                    self._answer(event)
        self._transport.write(self._http2.data_to_send())

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.remove(self._transport)
        self._server.ended.set()

    def _answer(self, request: RequestReceived) -> None:
        server = self._server
        body = Scripted(ZONE).reply(request.body, stream=True) if server.body is None else server.body
        self._http2.send_response(request.stream_id, server.status, (("content-type", server.kind),))
        self._http2.send_body(request.stream_id, body, end=True)


def serving(server: Server, certificate: Path) -> AbstractAsyncContextManager[Server]:
    return serving_tls(server, Conversation, server_context(certificate, "h2"))


def upstream(server: Server) -> Upstream:
    return Upstream(Kind.HTTPS, "127.0.0.1", server.port, NAME, "/dns-query")


async def ask(ours: Transports, server: Server) -> str:
    reply = await ours.ask(upstream(server), MESSAGE, QUESTION)
    assert reply.id == 77
    return ", ".join(str(address) for _, address, _ in reply.addresses())


async def test_ok__questions_share_a_connection(certificate: Path) -> None:
    async with serving(Server(), certificate) as server, transports(certificate) as ours:
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(ask(ours, server)) for _ in range(5)]
        assert {each.result() for each in asked} == {"192.0.2.1"}
        assert await ask(ours, server) == "192.0.2.1"
        assert len(server.connections) == 1
        seen = {(each.method, each.path, each.body[:2]) for each in server.requests}
        assert seen == {("POST", "/dns-query", b"\0\0")}


async def test_ok__a_server_that_was_started_anew(certificate: Path) -> None:
    server = Server()
    async with transports(certificate) as ours:
        for _ in range(2):
            async with serving(server, certificate):
                assert await ask(ours, server) == "192.0.2.1"


async def test_ok__a_silent_connection_is_left(certificate: Path) -> None:
    async with serving(Server(), certificate) as server, transports(certificate) as ours:
        assert await ask(ours, server) == "192.0.2.1"
        server.connections[0].pause_reading()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await ask(ours, server)
        assert await ask(ours, server) == "192.0.2.1"
        assert len(server.connections) == 2


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (Server(status=503), "HTTP 503"),
        (Server(kind="text/html"), "text/html"),
        (Server(body=b"short"), "5 bytes"),
        (Server(body=bytes(70_000)), "no DNS message"),
    ],
)
async def test_fail__no_dns(certificate: Path, server: Server, reason: str) -> None:
    async with serving(server, certificate), transports(certificate) as ours:
        with pytest.raises(UpstreamError, match=reason):
            await ask(ours, server)
        server.status, server.kind, server.body = 200, TYPE, None
        assert await ask(ours, server) == "192.0.2.1"


async def test_fail__the_connection_ends(certificate: Path) -> None:
    async with serving(Server(silent=True), certificate) as server, transports(certificate) as ours:

        async def cut() -> None:
            await server.asked.wait()
            server.connections[0].abort()

        async with asyncio.TaskGroup() as group:
            group.create_task(cut())
            with pytest.raises(UpstreamError, match="closed the connection"):
                await ask(ours, server)


@pytest.mark.parametrize("broken", [b"", b"\0\0\1\4\0\0\0\0\0\0"], ids=["nothing", "settings of a wrong length"])
async def test_fail__no_http2_after_all(certificate: Path, broken: bytes) -> None:
    async def chatter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(broken)
        if broken:
            with suppress(OSError):
                await reader.read()
        writer.close()

    server = await asyncio.start_server(chatter, "127.0.0.1", 0, ssl=server_context(certificate, "h2"))
    port = server.sockets[0].getsockname()[1]
    async with transports(certificate) as ours:
        with pytest.raises(UpstreamError, match="closed the connection"):
            await ask(ours, Server(port=port))
    server.close()
    await server.wait_closed()


async def test_fail__a_ca_that_counts_no_more(certificate: Path, tmp_path: Path) -> None:
    other = certificate_file(tmp_path, "other.example")
    async with serving(Server(), certificate) as server, transports(certificate) as ours:
        assert await ask(ours, server) == "192.0.2.1"
        ours.trust.set_ca_file(str(other))
        with pytest.raises(UntrustedError):
            await ask(ours, server)


async def test_ok__known_by_name_only(certificate: Path) -> None:
    async with serving(Server(), certificate) as server, transports(certificate) as ours:
        named = Upstream(Kind.HTTPS, "", server.port, NAME, "/dns-query")
        assert (await ours.ask(named, MESSAGE, QUESTION)).addresses()
