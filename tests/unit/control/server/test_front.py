"""The front listener: heads in pieces, pipelining, time-outs, refusals, hand-over with leftover bytes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from appliance.proto.http1.head import RequestHead
from control.server.front import USER_TIMEOUT_MS, Front
from control.server.routes import PlainRequest, PlainResponse, Routes
from control.server.tasks import RequestTasks


class Taken(asyncio.Protocol):
    """Echoes what comes after the hand-over."""

    def __init__(self, transport: asyncio.Transport, leftover: bytes) -> None:
        self._transport = transport
        transport.write(b"taken:" + leftover)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


@dataclass
class Rig:
    front: Front
    port: int


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async def echo(request: PlainRequest) -> PlainResponse:
        return PlainResponse(200, request.head.path.encode() + b":" + request.body)

    async def broken(request: PlainRequest) -> PlainResponse:
        raise RuntimeError("a defect")

    taken: list[asyncio.Transport] = []

    def take(transport: asyncio.Transport, head: RequestHead, leftover: bytes) -> None:
        transport.set_protocol(Taken(transport, leftover))
        taken.append(transport)

    def refuse(transport: asyncio.Transport, head: RequestHead, leftover: bytes) -> None:
        transport.write(b"refused")

    routes = Routes(
        plain={("GET", "/a"): echo, ("POST", "/a"): echo, ("GET", "/b"): echo, ("GET", "/broken"): broken},
        raw={"/raw": take, "/refused": refuse},
    )
    async with RequestTasks() as tasks:
        front = Front(routes, tasks.spawn, head_timeout_s=0.3)
        listener = await front.listen("127.0.0.1", 0)
        yield Rig(front, listener.sockets[0].getsockname()[1])
        listener.close()
        front.close()
        for transport in taken:
            transport.abort()


@pytest.fixture
def port(rig: Rig) -> int:
    return rig.port


async def talk(port: int, *pieces: bytes, limit: int = -1) -> bytes:
    """Send the pieces one by one, read to the end (or `limit` bytes)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    answer = await (reader.read() if limit < 0 else reader.readexactly(limit))
    writer.close()
    await writer.wait_closed()
    return answer


async def test_ok__head_and_body_in_pieces(port: int) -> None:
    request = b"POST /a HTTP/1.1\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody"
    pieces = [request[start : start + 7] for start in range(0, len(request), 7)]
    answer = await talk(port, *pieces)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"/a:body")


async def test_ok__pipelined_requests_are_answered_in_order(port: int) -> None:
    answer = await talk(port, b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert answer.index(b"/a:") < answer.index(b"/b:")


async def test_ok__idle_connection_is_dropped(port: int) -> None:
    assert (await talk(port, b"GET /a HTTP/1.1\r\n\r\n")).endswith(b"/a:")


async def test_fail__half_a_head_is_dropped_in_time(port: int) -> None:
    answer = b""
    with contextlib.suppress(ConnectionResetError):  # an abort may be seen as a reset or as an end
        answer = await talk(port, b"GET /a HT")
    assert answer == b""


async def test_ok__hand_over_keeps_the_bytes_behind_the_head(port: int) -> None:
    answer = await talk(port, b"GET /raw HTTP/1.1\r\nUpgrade: x\r\n\r\nbehind", b"-later", limit=18)
    assert answer == b"taken:behind-later"


async def test_ok__close_ends_what_nobody_took_over(rig: Rig) -> None:
    rig.front.head_timeout_s = 3600.0
    idle, half, taken, refused = [await asyncio.open_connection("127.0.0.1", rig.port) for _ in range(4)]
    for (reader, writer), sent, answer in (
        (idle, b"GET /a HTTP/1.1\r\n\r\n", b"/a:"),
        (half, b"GET /b HTTP/1.1\r\n\r\nGET /b HT", b"/b:"),
        (taken, b"GET /raw HTTP/1.1\r\n\r\n", b"taken:"),
        (refused, b"GET /refused HTTP/1.1\r\n\r\n", b"refused"),
    ):
        writer.write(sent)
        await reader.readuntil(answer)
    rig.front.close()
    late = await asyncio.open_connection("127.0.0.1", rig.port)
    for reader, writer in (idle, half, refused, late):
        with contextlib.suppress(ConnectionResetError):  # an abort may be seen as a reset or as an end
            assert await reader.read() == b""
        writer.close()
    reader, writer = taken
    writer.write(b"still here")
    assert await reader.readexactly(10) == b"still here"
    writer.close()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"junk\r\n\r\n", 400),
        (b"GET /" + b"a" * 9000, 431),
        (b"POST /a HTTP/1.1\r\nContent-Length: 70000\r\n\r\n", 413),
        (b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET /none HTTP/1.1\r\nConnection: close\r\n\r\n", 404),
        (b"PUT /a HTTP/1.1\r\nConnection: close\r\n\r\n", 405),
        (b"GET /broken HTTP/1.1\r\nConnection: close\r\n\r\n", 500),
    ],
)
async def test_fail__refusals(port: int, request_bytes: bytes, status: int) -> None:
    assert (await talk(port, request_bytes)).startswith(b"HTTP/1.1 %d " % status)


async def test_ok__head_request_has_no_body(port: int) -> None:
    answer = await talk(port, b"HEAD /a HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n")


async def test_ok__connections_notice_dead_peers() -> None:
    async with RequestTasks() as tasks:
        listener = await Front(Routes(), tasks.spawn).listen("127.0.0.1", 0)
        sock = listener.sockets[0]
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == USER_TIMEOUT_MS
        listener.close()
