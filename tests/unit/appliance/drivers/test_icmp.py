"""ICMP echo on loopback; needs the right to raw sockets."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest
import uvloop

from appliance.drivers import icmp
from appliance.drivers.icmp import IcmpPinger
from appliance.ports.clock import SystemClock
from appliance.ports.randomness import SystemRandomness
from appliance.proto.icmp import Echo, parse_reply


def may_ping() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    except PermissionError:
        return False
    return True


pytestmark = pytest.mark.skipif(not may_ping(), reason="no right to raw sockets")
PING = IcmpPinger(SystemClock(), SystemRandomness())


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_ok__own_host_echoes(address: str) -> None:
    try:
        assert 0 <= await PING(ip_address(address), 5) < 5
    except OSError as error:
        if address == "::1" and not isinstance(error, TimeoutError):
            pytest.skip("no IPv6 here")
        raise


def test_ok__under_uvloop_too() -> None:
    async def run() -> None:
        assert await PING(ip_address("127.0.0.1"), 5) < 5

    uvloop.run(run())


async def test_fail__address_that_may_not_be_asked() -> None:
    with pytest.raises(PermissionError):
        await PING(ip_address("255.255.255.255"), 5)


async def test_fail__echo_of_another_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(icmp, "parse_reply", lambda _version, _packet: Echo(1, 1, b"another"))
    with pytest.raises(TimeoutError):
        await PING(ip_address("127.0.0.1"), 0.02)


async def test_ok__late_reply_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[Echo] = []

    def later(version: int, packet: bytes) -> Echo:
        held.append(parse_reply(version, packet))
        return held[0] if len(held) == 2 else Echo(1, 1, b"another")

    monkeypatch.setattr(icmp, "parse_reply", later)
    assert 0.05 <= await PING(ip_address("127.0.0.1"), 5, repeat_s=0.05) < 1
    assert [echo.sequence for echo in held] == [1, 2]
