"""One TLS port for everybody: an authority gets its certificate, others the server's, silent ones nothing for long."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from contextlib import asynccontextmanager, suppress

import pytest

from appliance.ports.clock import SystemClock
from appliance.ports.randomness import SystemRandomness
from appliance.types.errors import ApplianceError
from control.server import peeking
from control.server.front import Front
from control.server.routes import PlainRequest, PlainResponse, Routes
from control.server.tasks import RequestTasks
from control.tls.alpn_challenge import PROTOCOL, AlpnAnswers
from control.tls.identity import ServerTls

NAME = "control.example"


async def _hello(request: PlainRequest) -> PlainResponse:
    return PlainResponse(200, b"hello")


@asynccontextmanager
async def listening(folder):
    clock, randomness = SystemClock(), SystemRandomness()
    answers = AlpnAnswers(clock, randomness)
    tls = ServerTls.self_signed(folder / "own.pem", [NAME], clock, randomness)
    async with RequestTasks() as tasks:
        front = Front(Routes({("GET", "/"): _hello}), tasks.spawn)
        listener = front.listen_peeking("127.0.0.1", 0, tls.context, answers)
        tasks.spawn(listener.serve())
        try:
            yield listener.sockets[0].getsockname()[1], answers, tls, front
        finally:
            listener.close()
            front.close()


def _context(*protocols: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


async def _visit(port: int, *protocols: str, name: str = NAME) -> tuple[str, str | None, asyncio.StreamWriter]:
    """Hash of what is presented, and the protocol agreed on."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=_context(*protocols), server_hostname=name)
    found = writer.get_extra_info("ssl_object")
    return hashlib.sha256(found.getpeercert(binary_form=True)).hexdigest(), found.selected_alpn_protocol(), writer


async def test_ok__the_authority_and_everybody_else(tmp_path):
    async with listening(tmp_path) as (port, answers, tls, _):
        for waiting in (False, True):
            answers.publish({NAME: "ab" * 32} if waiting else {})
            shown, protocol, writer = await _visit(port, "http/1.1")
            assert (shown, protocol) == (tls.pin_sha256, "http/1.1")
            writer.transport.abort()
        shown, protocol, writer = await _visit(port, PROTOCOL.decode())
        assert shown != tls.pin_sha256
        assert protocol == PROTOCOL.decode()
        writer.transport.abort()
        shown, _, writer = await _visit(port, PROTOCOL.decode(), name="other.example")
        assert shown == tls.pin_sha256
        writer.transport.abort()


async def test_ok__requests_are_served_as_ever(tmp_path):
    async with listening(tmp_path) as (port, answers, _, _):
        answers.publish({NAME: "ab" * 32})
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=_context(), server_hostname=NAME)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"\r\n\r\nhello")
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", b"", b"\x16\x03\x01\x02\x00half"])
async def test_fail__what_is_no_tls_harms_nobody(tmp_path, monkeypatch, sent):
    monkeypatch.setattr(peeking, "PEEK_TIMEOUT_S", 0.2)
    async with listening(tmp_path) as (port, answers, tls, _):
        answers.publish({NAME: "ab" * 32})
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        if sent.startswith(b"\x16"):
            shown, _, other = await _visit(port)
            assert shown == tls.pin_sha256, "others are served meanwhile"
            other.transport.abort()
        with suppress(ConnectionResetError):  # what was not read is thrown away
            assert await reader.read() == b""
        writer.close()
        shown, _, other = await _visit(port)
        assert shown == tls.pin_sha256
        other.transport.abort()


async def test_fail__a_port_that_is_taken(tmp_path):
    async with listening(tmp_path) as (port, answers, tls, front):
        with pytest.raises(ApplianceError, match="cannot listen"):
            front.listen_peeking("127.0.0.1", port, tls.context, answers)
