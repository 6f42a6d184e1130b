"""The UDP driver on real sockets of the loopback."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator

import pytest

from appliance.drivers.udp import LinuxUdpPort, open_udp_ports
from appliance.ports.packets import Segments, one
from appliance.types.addresses import AddrPort
from appliance.types.errors import UnderlayError


@pytest.fixture
def ports() -> Iterator[list[LinuxUdpPort]]:
    opened = [*open_udp_ports(0), *open_udp_ports(0)]
    yield opened
    for port in opened:
        port.close()


def by_version(ports: list[LinuxUdpPort], version: int) -> list[LinuxUdpPort]:
    return [port for port in ports if port.local.is_v6 == (version == 6)]


async def collect(port: LinuxUdpPort, total: int) -> list[tuple[AddrPort, Segments]]:
    """Receive until `total` bytes have come."""
    readable = asyncio.Event()
    port.set_reader(readable.set)
    batches: list[tuple[AddrPort, Segments]] = []
    while sum(len(batch.buffer) for _, batch in batches) < total:
        await readable.wait()
        readable.clear()
        batches += port.receive()
    port.set_reader(None)
    return batches


def test_ok__both_versions_on_one_port(ports: list[LinuxUdpPort]) -> None:
    assert len({port.local.port for port in ports[:2]}) == 1
    assert [port.local.is_v6 for port in ports[:2]] == [False, True]


@pytest.mark.parametrize(("version", "host"), [(4, "127.0.0.1"), (6, "::1")])
async def test_ok__a_batch_goes_over(ports: list[LinuxUdpPort], version: int, host: str) -> None:
    sender, receiver = by_version(ports, version)
    data = b"".join(bytes((n,)) * 1000 for n in range(100)) + b"short"
    sender.send(AddrPort(host, receiver.local.port), Segments(data, 1000))
    batches = await collect(receiver, len(data))
    assert [source for source, _ in batches] == [AddrPort(host, sender.local.port)] * len(batches)
    segments = [bytes(segment) for _, batch in batches for segment in batch]
    assert segments == [data[at : at + 1000] for at in range(0, len(data), 1000)]
    assert sender.segmenting
    assert any(len(batch) > 1 for _, batch in batches)


async def test_ok__buffers_belong_to_the_receiver(ports: list[LinuxUdpPort]) -> None:
    sender, receiver = by_version(ports, 4)
    to = AddrPort("127.0.0.1", receiver.local.port)
    for size in (10, 60000, 20, 60000):
        sender.send(to, one(bytes((size % 251,)) * size))
    batches = await collect(receiver, 120030)
    for _, batch in batches:
        view = memoryview(batch.buffer)
        assert not view.readonly
        assert set(view) == {len(view) % 251}


async def test_ok__empty_datagrams_are_nothing(ports: list[LinuxUdpPort]) -> None:
    sender, receiver = by_version(ports, 4)
    to = AddrPort("127.0.0.1", receiver.local.port)
    sender.send(to, Segments(b"", 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.sendto(b"", to)
    sender.send(to, one(b"x"))
    (batch,) = await collect(receiver, 1)
    assert bytes(batch[1].buffer) == b"x"


def test_fail__nothing_waits(ports: list[LinuxUdpPort]) -> None:
    assert ports[0].receive() == []


class Refusing(socket.socket):
    """A socket of a kernel that lacks UDP_SEGMENT, or whose buffer is full."""

    refusal = errno.EIO

    def sendmsg(self, *args: object) -> int:
        raise OSError(self.refusal, "refused")


async def test_ok__a_refused_segmented_send_goes_one_by_one(ports: list[LinuxUdpPort]) -> None:
    receiver = by_version(ports, 4)[0]
    sock = Refusing(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sender = LinuxUdpPort(sock)
    sender.send(AddrPort("127.0.0.1", receiver.local.port), Segments(b"aabbc", 2))
    batches = await collect(receiver, 5)
    assert [bytes(segment) for _, batch in batches for segment in batch] == [b"aa", b"bb", b"c"]
    assert not sender.segmenting
    sender.close()


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.ENOBUFS])
def test_ok__a_full_buffer_drops(code: int) -> None:
    sock = Refusing(socket.AF_INET, socket.SOCK_DGRAM)
    sock.refusal = code
    sender = LinuxUdpPort(sock)
    sender.send(AddrPort("127.0.0.1", 9), Segments(b"aabbc", 2))
    assert sender.dropped == 3
    assert sender.segmenting
    sender.close()


def test_fail__other_refusals_are_raised(ports: list[LinuxUdpPort]) -> None:
    with pytest.raises(OSError):
        ports[0].send(AddrPort("255.255.255.255", 9), one(b"x"))
    with pytest.raises(OSError):
        ports[0].send(AddrPort("127.0.0.1", 9), one(bytes(65535)))


def test_fail__a_taken_port_says_so() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", 0))
        port = taken.getsockname()[1]
        with pytest.raises(UnderlayError) as caught:
            open_udp_ports(port)
    assert str(port) in caught.value.text
    assert caught.value.code == "port_taken"
    assert caught.value.mend


def test_ok__without_offload() -> None:
    (port, *rest) = open_udp_ports(0, offload=False)
    assert not port.segmenting
    for item in (port, *rest):
        item.close()
        item.close()


def test_ok__the_receive_buffer_is_big(ports: list[LinuxUdpPort]) -> None:
    size = ports[0]._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert size > 200_000


@pytest.mark.parametrize(("version", "host"), [(4, "127.0.0.1"), (6, "::1")])
async def test_ok__whole_packet_goes_over_and_the_socket_is_as_before(
    ports: list[LinuxUdpPort], version: int, host: str
) -> None:
    sender, receiver = by_version(ports, version)
    to = AddrPort(host, receiver.local.port)
    level, option = (socket.IPPROTO_IP, 10) if version == 4 else (socket.IPPROTO_IPV6, 23)
    before = sender._socket.getsockopt(level, option)
    sender.send_whole(to, bytes(9000))
    assert [len(batch.buffer) for _, batch in await collect(receiver, 9000)] == [9000]
    assert sender._socket.getsockopt(level, option) == before
