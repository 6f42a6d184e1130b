"""The STUN server on loopback (derp spec 8.2, 8.3)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from appliance.proto.stun import PACKET_BYTES, encode_request, encode_train_request, parse_response
from appliance.types.errors import UnderlayError
from control.stun.answers import FOREIGN_BURST
from control.stun.server import StunServer

TX = bytes(range(12))
FOREIGN = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + TX
"""What test tools send."""


@pytest.fixture
async def server() -> AsyncIterator[StunServer]:
    made = StunServer(bytes(32))
    await made.listen(0, ipv4="0.0.0.0", ipv6="::")
    yield made
    made.close()


def udp(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((host, 0))
    return sock


async def ask(sock: socket.socket, data: bytes, to: tuple[str, int]) -> tuple[bytes, tuple[str, int]]:
    loop = asyncio.get_running_loop()
    await loop.sock_sendto(sock, data, to)
    return await loop.sock_recvfrom(sock, 2000)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_ok__client_learns_its_address(server: StunServer, host: str) -> None:
    with udp(host) as sock:
        answer, source = await ask(sock, encode_request(TX), (host, server.port))
        response = parse_response(answer)
        assert (response.tx_id, response.mapped) == (TX, sock.getsockname()[:2])
        assert source[:2] == (host, server.port)


async def test_ok__answer_leaves_from_the_address_that_was_asked(server: StunServer) -> None:
    with udp("127.0.0.1") as sock:
        _, source = await ask(sock, encode_request(TX), ("127.0.0.77", server.port))
        assert source == ("127.0.0.77", server.port)


async def test_ok__a_burst_is_answered(server: StunServer) -> None:
    with udp("127.0.0.1") as sock:
        for number in range(200):
            sock.sendto(encode_request(number.to_bytes(12, "big")), ("127.0.0.1", server.port))
        loop = asyncio.get_running_loop()
        seen = {parse_response(await loop.sock_recv(sock, 2000)).tx_id for _ in range(200)}
        assert len(seen) == 200
    assert server.metrics()["answered"] == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_ok__any_client_is_answered(server: StunServer, host: str) -> None:
    with udp(host) as sock:
        answer, _ = await ask(sock, FOREIGN, (host, server.port))
        assert parse_response(answer).mapped == sock.getsockname()[:2]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_ok__a_train_for_who_shows_a_ticket(server: StunServer, host: str) -> None:
    with udp(host) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        question = encode_train_request(TX)
        answer, _ = await ask(sock, question, (host, server.port))
        assert len(answer) <= len(question)
        ticket = parse_response(answer).ticket
        first, source = await ask(sock, encode_train_request(TX, ticket, 70), (host, server.port))
        assert source[:2] == (host, server.port)
        rest = [await asyncio.get_running_loop().sock_recv(sock, 2000) for _ in range(69)]
        assert {len(packet) for packet in (first, *rest)} == {PACKET_BYTES}
        assert {parse_response(packet).tx_id for packet in (first, *rest)} == {TX}
        sock.sendto(encode_train_request(TX, ticket, 70), (host, server.port))
        again, _ = await ask(sock, encode_request(TX), (host, server.port))
        assert len(again) < PACKET_BYTES, "one train for a ticket"
    assert server.metrics()["trains"] == 1
    assert server.ignored["train_refused"] == 1


async def test_fail__a_flood_of_other_clients_is_not_answered_and_delays_no_node(server: StunServer) -> None:
    flood = int(FOREIGN_BURST) * 3
    with udp("127.0.0.1") as other, udp("127.0.0.1") as node:
        for _ in range(flood):
            other.sendto(FOREIGN, ("127.0.0.1", server.port))
        answer, _ = await ask(node, encode_request(TX), ("127.0.0.1", server.port))
        assert parse_response(answer).mapped == node.getsockname()[:2]
    assert server.answered <= FOREIGN_BURST * 2
    assert server.ignored["foreign_rate"] == flood + 1 - server.answered


async def test_fail__other_datagrams_get_no_answer(server: StunServer) -> None:
    with udp("127.0.0.1") as sock:
        for data in (b"", b"x", encode_request(TX)[:20], encode_request(TX)[:-1], bytes(1400)):
            sock.sendto(data, ("127.0.0.1", server.port))
        answer, _ = await ask(sock, encode_request(TX), ("127.0.0.1", server.port))
        assert parse_response(answer).tx_id == TX
        with pytest.raises(BlockingIOError):
            sock.recv(100)
    assert sum(server.ignored.values()) == 5


async def test_fail__port_taken(server: StunServer) -> None:
    with pytest.raises(UnderlayError) as caught:
        await StunServer(bytes(32)).listen(server.port, ipv6="")
    assert str(server.port) in caught.value.line()
    assert caught.value.mend
