"""Look-ups past the tunnel, at a real little server on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from appliance.drivers.marked_lookup import look_up, nameservers
from appliance.drivers.sockets import open_socket
from appliance.ports.randomness import SeededRandomness
from appliance.proto.dns.build import Answer, build_reply
from appliance.proto.dns.numbers import AAAA, A
from appliance.proto.dns.query import parse_query

HERE = ip_address("127.0.0.1")
V4, V6 = ip_address("192.0.2.7"), ip_address("2001:db8::7")


class Server(asyncio.DatagramProtocol):
    """Knows one name; before each answer it sends what must not be believed."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = parse_query(data)
        self.asked.append(query.name)
        forged = bytes([data[0] ^ 1]) + build_reply(query, 0, (Answer(A, b"\x06\x06\x06\x06", 60),))[1:]
        self.transport.sendto(b"\xff" * 20, addr)
        self.transport.sendto(forged, addr)
        found = {A: V4.packed, AAAA: V6.packed}.get(query.qtype) if query.name == "control.example" else None
        answers = (Answer(query.qtype, found, 60),) if found is not None else ()
        self.transport.sendto(build_reply(query, 0 if answers else 3, answers), addr)


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, int]]:
    transport, made = await asyncio.get_running_loop().create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
    yield made, transport.get_extra_info("sockname")[1]
    transport.close()


async def test_ok__both_versions_and_no_forged_answers(server: tuple[Server, int]) -> None:
    made, port = server
    found = await look_up("control.example.", (HERE,), SeededRandomness(1), open_socket, port)
    assert found == (V4, V6)
    assert made.asked == ["control.example", "control.example"]
    assert await look_up("other.example", (HERE,), SeededRandomness(1), open_socket, port) == ()


@pytest.mark.parametrize("host", ["a" * 70 + ".example", "x" * 300, "ä" * 80])
async def test_fail__no_host_name(host: str) -> None:
    assert await look_up(host, (HERE,), SeededRandomness(1), open_socket, 9) == ()


async def test_fail__nobody_listens() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert await look_up("control.example", (HERE,), SeededRandomness(1), open_socket, port) == ()
    assert await look_up("control.example", (), SeededRandomness(1), open_socket, port) == ()


def test_ok__servers_outside_this_host_and_the_mesh(tmp_path: Path) -> None:
    stub, real = tmp_path / "stub", tmp_path / "real"
    stub.write_text("nameserver 127.0.0.53\nnameserver 100.100.100.100\nnameserver fd7a:115c:a1e0::53\n")
    real.write_text(
        "# here\nsearch lan\nnameserver\nnameserver 192.168.1.1\nnameserver x\nnameserver 2001:db8::53 \n" * 2
    )
    assert nameservers((tmp_path / "none", stub, real)) == (ip_address("192.168.1.1"), ip_address("2001:db8::53"))
    assert nameservers((stub,)) == ()
