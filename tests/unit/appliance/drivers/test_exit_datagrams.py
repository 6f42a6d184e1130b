"""Datagrams of an exit's users on this host's loopback; the firewall's part is in tests/lab/test_exit_uplink.py."""

import asyncio
import os
import socket

import pytest

from appliance.drivers.exit_datagrams import LinuxExitDatagrams
from appliance.ports.exit_datagrams import TakenDatagram
from appliance.types.addresses import AddrPort
from appliance.types.errors import UnderlayError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets need CAP_NET_RAW")
FAR = {"127.0.0.1": AddrPort("192.0.2.1", 53), "::1": AddrPort("2001:db8::1", 53)}


@needs_root
@pytest.mark.parametrize("host", list(FAR))
async def test_ok__taken_with_its_goal_and_answered_in_its_name(host: str) -> None:
    taken = LinuxExitDatagrams()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as user:
            user.bind((host, 0))
            user.settimeout(5)
            arrived = asyncio.Event()
            taken.set_reader(arrived.set)
            user.sendto(b"question", (host, taken.port))
            async with asyncio.timeout(5):
                await arrived.wait()
            own = AddrPort(*user.getsockname()[:2])
            assert taken.receive() == [TakenDatagram(own, AddrPort(host, taken.port), b"question")]
            assert taken.receive() == []
            for payload in (b"", b"odd", bytes(4000)):
                assert taken.answer(FAR[host], own, payload)
                answer, source = user.recvfrom(65535)
                assert (answer, AddrPort(*source[:2])) == (payload, FAR[host])
            assert not taken.answer(FAR[host], own, bytes(65528)), "too long"
            assert not taken.answer(next(each for each in FAR.values() if each.is_v6 != own.is_v6), own, b"x")
    finally:
        taken.close()


def test_fail__without_the_capability() -> None:
    def refusing(family: int, kind: int, protocol: int = 0, /) -> socket.socket:
        if kind & socket.SOCK_RAW == socket.SOCK_RAW:
            raise PermissionError(1, "Operation not permitted")
        return socket.socket(family, kind, protocol)

    with pytest.raises(UnderlayError, match="Operation not permitted"):
        LinuxExitDatagrams(refusing)
