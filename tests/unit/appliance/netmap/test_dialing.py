"""The dial race of control-protocol spec section 3.2."""

from __future__ import annotations

import asyncio

import pytest

from appliance.api.testing import VirtualTime, settle
from appliance.crypto.x25519 import clamp, public_key
from appliance.netmap.address import parse_control_url
from appliance.netmap.backoff import Backoff
from appliance.netmap.connection import ControlConnection
from appliance.netmap.dialing import TunnelDialer
from appliance.netmap.errors import ControlUnreachable, ProtocolError
from appliance.ports.randomness import SeededRandomness
from appliance.ports.streams import MemoryDialer, MemoryStream
from appliance.proto.http1.head import encode_response
from appliance.types.keys import MachinePrivateKey


class Race:
    def __init__(self, lab, url: str) -> None:
        self.dialer = MemoryDialer()
        self.time = VirtualTime()
        self.server = lab.server
        self.key = public_key(lab.server.machine)
        machine = MachinePrivateKey(clamp(b"m" * 32))
        self.tunnels = TunnelDialer(
            self.dialer, parse_control_url(url), machine, self.time, SeededRandomness(3), self.time.sleep
        )
        self.opened: list[ControlConnection] = []

    async def open(self, seconds: float = 11.0) -> ControlConnection:
        task = asyncio.ensure_future(self.tunnels.open(self.key))
        for _ in range(int(seconds * 10)):
            if task.done():
                break
            await self.time.pass_time(0.1)
        connection = await task
        self.opened.append(connection)
        return connection

    @property
    def ports(self) -> list[tuple[int, bool]]:
        return [(port, tls is not None) for _, port, tls in self.dialer.dialled]


@pytest.fixture
async def race(lab):
    made: list[Race] = []

    def make(url: str) -> Race:
        made.append(Race(lab, url))
        return made[-1]

    yield make
    for each in made:
        for connection in each.opened:
            connection.close()
    await settle()


async def silent(stream: MemoryStream) -> None:
    await stream.read()


async def test_ok__plain_comes_first(race) -> None:
    one = race("https://control.example")
    one.dialer.servers["control.example", 80] = one.server.serve
    await one.open()
    assert one.ports == [(80, False)]


async def test_ok__tls_at_once_when_plain_is_closed(race) -> None:
    one = race("https://control.example")
    one.dialer.servers["control.example", 443] = one.server.serve
    start = one.time.now()
    await one.open()
    assert one.ports == [(80, False), (443, True)]
    assert one.time.now() - start < 0.3
    policy = one.dialer.dialled[1][2]
    assert policy is not None
    assert policy.verify is False, "Noise authenticates the server"


async def test_ok__tls_after_half_a_second_when_plain_is_silent(race) -> None:
    one = race("https://control.example")
    one.dialer.servers["control.example", 80] = silent
    one.dialer.servers["control.example", 443] = one.server.serve
    start = one.time.now()
    await one.open()
    assert 0.5 <= one.time.now() - start < 0.8


async def test_ok__again_within_two_minutes_goes_to_tls(race) -> None:
    one = race("https://control.example")
    one.dialer.servers["control.example", 80] = one.server.serve
    one.dialer.servers["control.example", 443] = one.server.serve
    await one.open()
    await one.open()
    assert one.ports == [(80, False), (443, True)]
    await one.time.pass_time(121)
    await one.open()
    assert one.ports[-1] == (80, False)


async def test_ok__plain_server_is_found_again(race) -> None:
    one = race("http://control.example:8080")
    one.dialer.servers["control.example", 8080] = one.server.serve
    await one.open()
    await one.open()
    assert one.ports == [(8080, False), (443, True), (8080, False)]


async def test_ok__private_server_is_never_tried_by_tls(race) -> None:
    one = race("http://10.0.0.1:8080")
    one.dialer.servers["10.0.0.1", 8080] = one.server.serve
    await one.open()
    await one.open()
    assert one.ports == [(8080, False), (8080, False)]


async def test_fail__an_answer_tells_most(race) -> None:
    async def refuse(stream: MemoryStream) -> None:
        await stream.read()
        stream.write(encode_response(404, b"nothing here"))
        stream.close()

    one = race("https://control.example")
    one.dialer.servers["control.example", 443] = refuse
    with pytest.raises(ProtocolError, match="404"):
        await one.open()


async def test_fail__nothing_answers(race) -> None:
    one = race("https://control.example")
    with pytest.raises(ControlUnreachable, match=r"control\.example"):
        await one.open()


def test_ok__backoff_grows_to_its_limit() -> None:
    backoff = Backoff(SeededRandomness(1))
    waits = [backoff.next_s() for _ in range(100)]
    assert all(0.5 * n * n / 100 <= wait <= 1.5 * n * n / 100 for n, wait in enumerate(waits[:50], 1))
    assert all(15 <= wait <= 45 for wait in waits[60:])
    backoff.reset()
    assert backoff.next_s() <= 0.015
