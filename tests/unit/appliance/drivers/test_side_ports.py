"""Real sockets on loopback."""

import asyncio
import resource
import socket

import pytest

from appliance.drivers.side_ports import SPARE_FILES, LinuxSidePorts
from appliance.types.addresses import AddrPort


@pytest.fixture
async def side():
    made = LinuxSidePorts()
    yield made
    made.close_all()


async def test_ok__send_and_receive(side):
    heard = asyncio.Queue()
    side.set_receiver(lambda *what: heard.put_nowait(what))
    a, b = side.open(2)
    assert a.number != b.number
    assert a.port != b.port
    side.send(a.number, AddrPort("127.0.0.1", b.port), b"through")
    async with asyncio.timeout(5):
        number, source, data = await heard.get()
    assert (number, source.port, data) == (b.number, a.port, b"through")


async def test_ok__closed_socket_is_silent(side):
    (a,) = side.open(1)
    side.close((a.number, 12345))
    side.send(a.number, AddrPort("127.0.0.1", 9), b"nothing")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", a.port))  # free again


async def test_ok__receiver_may_close_what_it_reads(side):
    done = asyncio.Event()

    def receive(number, _source, _data):
        side.close((number,))
        done.set()

    side.set_receiver(receive)
    a, b = side.open(2)
    for _ in range(3):
        side.send(a.number, AddrPort("127.0.0.1", b.port), b"x")
    async with asyncio.timeout(5):
        await done.wait()


async def test_ok__files_are_left_for_the_rest(side, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (SPARE_FILES + 3, SPARE_FILES + 3))
    assert len(side.open(10)) == 3
    assert side.open(10) == []


async def test_fail__refusal_of_the_kernel_is_told(side):
    (a,) = side.open(1)
    with pytest.raises(OSError, match=r"."):
        side.send(a.number, AddrPort("127.0.0.1", 9), bytes(70000))
