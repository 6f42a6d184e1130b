"""Real sockets on this host's loopback; the WireGuard device is an ordinary socket here."""

import asyncio
import os
import socket

import pytest

from appliance.drivers.loopback import LinuxLoopbackPort, LinuxMeshPort, runs
from appliance.types.addresses import AddrPort
from appliance.types.errors import UnderlayError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets need CAP_NET_RAW")


def device(host: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    sock.settimeout(5)
    return sock


@needs_root
async def test_ok__a_peers_address_is_source_and_destination() -> None:
    port = LinuxLoopbackPort()
    arrived = asyncio.Event()
    port.set_reader(arrived.set)
    with device() as kernel:
        to = kernel.getsockname()[1]
        port.send(70000, [b"a" * 100, b"b" * 100, b"c", b"d" * 200], to)
        got = [kernel.recvfrom(1000) for _ in range(4)]
        assert [packet for packet, _ in got] == [b"a" * 100, b"b" * 100, b"c", b"d" * 200]
        assert {source for _, source in got} == {("127.65.17.112", port.port)}
        kernel.sendto(b"answer", ("127.65.17.112", port.port))
        async with asyncio.timeout(5):
            await arrived.wait()
    assert port.receive() == [(70000, b"answer")]
    assert port.receive() == []
    port.close()


@needs_root
@pytest.mark.parametrize(("host", "source"), [("127.0.0.1", "192.0.2.9"), ("::", "2001:db8::9")])
async def test_ok__source_of_a_far_host(host: str, source: str) -> None:
    """With IPv6 the packet goes to whatever address this host has toward the far one."""
    port = LinuxLoopbackPort()
    with device(host) as kernel:
        for packet in (b"", b"x", bytes(range(256)) * 5):
            port.send_as(AddrPort(source, 4711), [packet], kernel.getsockname()[1])
            got, origin = kernel.recvfrom(2000)
            assert (got, origin[:2]) == (packet, (source, 4711))
    port.close()


@needs_root
async def test_fail__mesh_port_without_a_device() -> None:
    with pytest.raises(UnderlayError, match="raw sockets on nothing0"):
        LinuxMeshPort("nothing0")


def test_ok__runs_hold_equal_lengths_and_a_shorter_end() -> None:
    packets = [b"a" * 10, b"b" * 10, b"c" * 3, b"d" * 10, b"e" * 20]
    assert list(runs(packets)) == [packets[:3], packets[3:4], packets[4:]]
    assert [len(run) for run in runs([b"x"] * 100)] == [64, 36]
    assert all(sum(map(len, run)) <= 60_000 for run in runs([bytes(1400)] * 64))
