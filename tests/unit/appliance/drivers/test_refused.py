"""Messages of nflog; tests/lab sees the kernel's own."""

import errno
import socket
import struct
from collections.abc import Callable

import pytest

from appliance.drivers.netlink_messages import HEADER, attribute, attributes
from appliance.drivers.refused import LinuxRefusedPort, configuration, payloads


def message(kind: int, body: bytes) -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, 0, 1, 0) + body


def packet(payload: bytes) -> bytes:
    return message(0x400, b"\x02\0\xa2\xa9" + attribute(10, b"prefix") + attribute(9, payload))


def test_ok__configuration_takes_the_group() -> None:
    made = configuration(41641)
    length, kind, flags, _, _ = HEADER.unpack_from(made)
    assert (length, kind, flags) == (len(made), 0x401, 5)
    assert made[16:20] == b"\0\0" + (41641).to_bytes(2, "big")
    assert dict(attributes(made[20:])) == {1: b"\x01", 2: b"\0\0\0\x60\x02\0", 5: b"\0\0\0\x01"}


def test_ok__payloads_only() -> None:
    broken = message(0x400, b"\x02\0\xa2\xa9\xff\xff\x09\0")
    assert list(payloads(packet(b"abc") + broken + message(3, b"") + packet(b"de"))) == [b"abc", b"de"]


@pytest.fixture
def kernel() -> tuple[socket.socket, Callable[..., socket.socket]]:
    """Stands for the kernel: a pair of sockets, and what opens our end."""
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return theirs, lambda *_: ours


async def test_ok__packets_come_after_the_acknowledgement(
    kernel: tuple[socket.socket, Callable[..., socket.socket]],
) -> None:
    theirs, opened = kernel
    theirs.send(message(2, struct.pack("=i", 0)))
    port = LinuxRefusedPort(7, opened)
    theirs.send(packet(b"one"))
    theirs.send(packet(b"two"))
    assert port.receive() == [b"one", b"two"]
    assert port.receive() == []
    port.close()
    theirs.close()


def test_fail__group_is_taken(kernel: tuple[socket.socket, Callable[..., socket.socket]]) -> None:
    theirs, opened = kernel
    theirs.send(message(2, struct.pack("=i", -errno.EBUSY)))
    with pytest.raises(OSError, match="busy"), theirs:
        LinuxRefusedPort(7, opened)
