"""The plain endpoints of a stand-alone DERP host (derp spec 5.1)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest


async def ask(relaying: Any, *requests: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", relaying.port)
    writer.write(b"".join(requests))
    answer = await reader.read()
    writer.transport.abort()
    return answer


def request(path: str, *headers: str, method: str = "GET", close: bool = True) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *headers, *(["Connection: close"] if close else [])]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize("path", ["/derp/probe", "/derp/latency-check"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_ok__probe(relaying: Any, path: str, method: str) -> None:
    answer = await ask(relaying, request(path, method=method))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"Access-Control-Allow-Origin: *\r\n" in answer
    assert answer.endswith(b"Content-Length: 0\r\n\r\n")


async def test_ok__warm_connection_answers_again(relaying: Any) -> None:
    warm = request("/derp/latency-check", close=False)
    assert (await ask(relaying, warm, warm, request("/"))).count(b"HTTP/1.1 200 ") == 3


@pytest.mark.parametrize(
    ("challenge", "answered"),
    [("derp.example.com:443", True), ("with_underscore", True), ("a" * 64, True), ("a" * 65, False), ("a b", False)],
)
async def test_ok__generate_204(relaying: Any, challenge: str, answered: bool) -> None:
    answer = await ask(relaying, request("/generate_204", f"X-Tailscale-Challenge: {challenge}"))
    assert answer.startswith(b"HTTP/1.1 204 ")
    assert b"Cache-Control: no-cache, no-store" in answer
    assert (f"X-Tailscale-Response: response {challenge}\r\n".encode() in answer) is answered


async def test_ok__other_pages(relaying: Any) -> None:
    assert b"Disallow: /" in await ask(relaying, request("/robots.txt"))
    assert (await ask(relaying, request("/nothing"))).startswith(b"HTTP/1.1 404 ")
    assert (await ask(relaying, request("/derp/probe", method="POST"))).startswith(b"HTTP/1.1 405 ")


async def test_ok__derp_after_a_page_on_one_connection(relaying: Any) -> None:
    one = await relaying.dial(1)
    one.writer.write(request("/derp/probe", close=False))
    assert (await one.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    assert type(await one.event()).__name__ == "Connected"


async def test_fail__request_with_a_body(relaying: Any) -> None:
    answer = await ask(relaying, request("/", "Content-Length: 5") + b"hello")
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_ok__stop_ends_connections_that_never_spoke_derp(relaying: Any) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", relaying.port)
    writer.write(request("/derp/probe", close=False))
    await reader.readuntil(b"\r\n\r\n")
    await relaying.server.stop()
    with suppress(ConnectionResetError):  # an abort may be seen as a reset or as an end
        assert await reader.read() == b""
    writer.close()
