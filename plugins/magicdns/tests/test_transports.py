"""TLS and HTTPS upstreams against servers of the test's own, with a certificate made for it."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import dns.message
import pytest
from aiohttp import web

from appliance.proto.dns import build_query, encode_name
from plugins.magicdns.errors import UntrustedError, UpstreamError
from plugins.magicdns.tests.scripted import Scripted
from plugins.magicdns.tests.tls import NAME, server_context, transports
from plugins.magicdns.upstream import Kind, Upstream

QUESTION = encode_name("Web.example") + struct.pack(">HH", 1, 1)
KEY = QUESTION[:-4].lower() + QUESTION[-4:]
MESSAGE = build_query(77, QUESTION, dnssec_ok=False, checking_disabled=False)
ZONE = {("web.example", "A"): ("192.0.2.1",)}


@asynccontextmanager
async def tls_server(certificate: Path) -> AsyncIterator[int]:
    server = await asyncio.start_server(Scripted(ZONE).converse, "127.0.0.1", 0, ssl=server_context(certificate))
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


@asynccontextmanager
async def https_server(
    certificate: Path | None, status: int = 200, kind: str = "application/dns-message"
) -> AsyncIterator[int]:
    scripted = Scripted(ZONE)

    async def handle(request: web.BaseRequest) -> web.Response:
        body = await request.read()
        assert body[:2] == b"\0\0", "no id, so that a proxy may keep the answer"
        assert (request.method, request.content_type) == ("POST", "application/dns-message")
        return web.Response(status=status, body=scripted.reply(body, stream=True), content_type=kind)

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context(certificate) if certificate else None)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


def check(data: bytes) -> None:
    read = dns.message.from_wire(data)
    assert read.answer[0][0].address == "192.0.2.1"


@pytest.mark.parametrize("address", ["127.0.0.1", ""])
async def test_ok__tls(certificate: Path, address: str) -> None:
    async with tls_server(certificate) as port, transports(certificate) as ours:
        reply = await ours.ask(Upstream(Kind.TLS, address, port, NAME), MESSAGE, KEY)
        check(reply.data)
        assert reply.id == 77


async def test_fail__tls_of_somebody_else(certificate: Path) -> None:
    async with tls_server(certificate) as port:
        async with transports(certificate) as ours:
            with pytest.raises(UntrustedError, match="does not count"):
                await ours.ask(Upstream(Kind.TLS, "127.0.0.1", port, "other.example"), MESSAGE, KEY)
        async with transports(None) as ours:
            with pytest.raises(UntrustedError):
                await ours.ask(Upstream(Kind.TLS, "127.0.0.1", port, NAME), MESSAGE, KEY)


@pytest.mark.parametrize("address", ["127.0.0.1", ""])
async def test_ok__https(certificate: Path, address: str) -> None:
    async with https_server(certificate) as port, transports(certificate) as ours:
        for _ in range(2):
            reply = await ours.ask(Upstream(Kind.HTTPS, address, port, NAME, "/dns-query"), MESSAGE, KEY)
            check(reply.data)
            assert reply.id == 77


async def test_ok__peer_api() -> None:
    async with https_server(None) as port, transports(None) as ours:
        check((await ours.ask(Upstream(Kind.PEER, "127.0.0.1", port, "", "/dns-query"), MESSAGE, KEY)).data)


@pytest.mark.parametrize(("status", "kind"), [(503, "application/dns-message"), (200, "text/html")])
async def test_fail__https_that_is_no_dns(certificate: Path, status: int, kind: str) -> None:
    async with https_server(certificate, status, kind) as port, transports(certificate) as ours:
        with pytest.raises(UpstreamError):
            await ours.ask(Upstream(Kind.HTTPS, "127.0.0.1", port, NAME, "/dns-query"), MESSAGE, KEY)


async def test_fail__https_of_somebody_else(certificate: Path) -> None:
    async with https_server(certificate) as port, transports(None) as ours:
        with pytest.raises(UntrustedError):
            await ours.ask(Upstream(Kind.HTTPS, "127.0.0.1", port, NAME, "/dns-query"), MESSAGE, KEY)
