"""Raw sockets beside an ordinary one on this host's loopback, which stands for the WireGuard device."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from appliance.drivers.raw_udp import RawUdpPort, open_raw_udp_ports
from appliance.ports.packets import Segments, one
from appliance.types.addresses import AddrPort
from appliance.types.errors import UnderlayError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="raw sockets need CAP_NET_RAW")

DISCO = b"TS\xf0\x9f\x92\xac" + bytes(60)
STUN = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)
WIREGUARD = b"\x01\0\0\0" + bytes(144)
HOSTS = ["127.0.0.1", "::1"]


def udp(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    sock.settimeout(5)
    return sock


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


@contextmanager
def beside(device: socket.socket, *ignored: str) -> Iterator[RawUdpPort]:
    """The raw port of the device's IP version."""
    ports = open_raw_udp_ports(port_of(device), ignored=ignored)
    try:
        yield ports[device.family == socket.AF_INET6]
    finally:
        for port in ports:
            port.close()


@pytest.mark.parametrize("host", HOSTS)
async def test_ok__copies_what_is_not_wireguard_with_its_source(host: str) -> None:
    with udp(host) as device, udp(host) as far, beside(device) as port:
        arrived = asyncio.Event()
        port.set_reader(arrived.set)
        for packet in (WIREGUARD, DISCO, STUN):
            far.sendto(packet, device.getsockname())
        async with asyncio.timeout(5):
            await arrived.wait()
        origin = AddrPort(host, port_of(far))
        assert [(source, bytes(batch.buffer)) for source, batch in port.receive()] == [(origin, DISCO), (origin, STUN)]
        assert [device.recv(1000) for _ in range(3)] == [WIREGUARD, DISCO, STUN], "the device sees everything"
        assert port.receive() == []


@pytest.mark.parametrize("host", HOSTS)
async def test_ok__sends_from_the_devices_port(host: str) -> None:
    """The far socket takes nothing with a wrong checksum."""
    with udp(host) as device, udp(host) as far, beside(device) as port:
        to = AddrPort(host, port_of(far))
        port.send(to, one(b"odd"))
        port.send(to, Segments(b"a" * 100 + b"b" * 50, 100))
        received = [far.recvfrom(1000) for _ in range(3)]
        assert [data for data, _ in received] == [b"odd", b"a" * 100, b"b" * 50]
        assert {source[:2] for _, source in received} == {(host, port_of(device))}


@pytest.mark.parametrize("host", HOSTS)
async def test_ok__follows_the_device_to_another_port(host: str) -> None:
    with udp(host) as device, udp(host) as other, udp(host) as far, beside(device) as port:
        port.move(port_of(other))
        assert port.local.port == port_of(other)
        for to in (device, other):
            far.sendto(DISCO, to.getsockname())
            assert to.recv(1000) == DISCO
        assert len(port.receive()) == 1
        port.send(AddrPort(host, port_of(far)), one(STUN))
        assert far.recvfrom(1000)[1][1] == port_of(other)


@pytest.mark.parametrize("host", HOSTS)
async def test_ok__takes_nothing_from_ignored_interfaces(host: str) -> None:
    with udp(host) as device, udp(host) as far, beside(device, "lo") as port:
        far.sendto(DISCO, device.getsockname())
        assert device.recv(1000) == DISCO
        assert port.receive() == []


async def test_fail__interface_that_is_not_there() -> None:
    with pytest.raises(UnderlayError, match="raw sockets beside UDP port 41641"):
        open_raw_udp_ports(41641, ignored=("nothing0",))


async def test_fail__nowhere_to_send() -> None:
    with (
        udp("127.0.0.1") as device,
        beside(device) as port,
        pytest.raises(OSError, match=r"denied|unreachable|Invalid"),
    ):
        port.send(AddrPort("255.255.255.255", 9), one(DISCO))


@pytest.mark.parametrize("host", HOSTS)
async def test_ok__whole_packet_leaves_from_the_port(host: str) -> None:
    with udp(host) as device, udp(host) as far, beside(device) as port:
        port.send_whole(AddrPort(host, port_of(far)), DISCO + bytes(8000))
        packet, source = far.recvfrom(65535)
        assert (packet, source[1]) == (DISCO + bytes(8000), port_of(device))
