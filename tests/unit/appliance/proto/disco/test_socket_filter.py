"""The program in the kernel: sockets of a pair take a filter too, and it sees what was sent as the packet."""

from __future__ import annotations

import ctypes
import random
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from appliance.proto.disco import PacketKind, classify
from appliance.proto.disco.socket_filter import port_filter

PORT = 41641
SO_ATTACH_FILTER = 26
DISCO = b"TS\xf0\x9f\x92\xac" + bytes(60)
STUN = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)
GENEVE_DISCO = bytes.fromhex("00807a110001c800") + DISCO
GENEVE_WIREGUARD = bytes.fromhex("00007a120001c800") + b"\x04\0\0\0" + bytes(28)
WIREGUARD = b"\x01\0\0\0" + bytes(144)


def packet(version: int, payload: bytes, port: int = PORT, options: bytes = b"", protocol: int = 17) -> bytes:
    header = struct.pack(">HHHH", 5000, port, 8 + len(payload), 0)
    if version == 6:
        return header + payload
    first = 0x45 + len(options) // 4
    return bytes((first,)) + bytes(8) + bytes((protocol,)) + bytes(10) + options + header + payload


@contextmanager
def filtered(program: bytes) -> Iterator[tuple[socket.socket, socket.socket]]:
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    held = ctypes.create_string_buffer(program, len(program))
    with sender, receiver:
        receiver.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(program) // 8, ctypes.addressof(held))
        )
        receiver.setblocking(False)
        yield sender, receiver


def passes(ends: tuple[socket.socket, socket.socket], data: bytes) -> bool:
    """What the filter drops is lost without a word."""
    sender, receiver = ends
    sender.send(data)
    try:
        return receiver.recv(65536) == data
    except BlockingIOError:
        return False


@pytest.mark.parametrize("version", [4, 6])
def test_ok__path_finding_passes_and_data_does_not(version: int) -> None:
    with filtered(port_filter(version, PORT)) as ends:
        for payload in (DISCO, STUN, GENEVE_DISCO, GENEVE_WIREGUARD):
            assert passes(ends, packet(version, payload))
            assert not passes(ends, packet(version, payload, PORT + 1))
        for payload in (WIREGUARD, b"\x02\0\0\0" + bytes(88), b"\x04\0\0\0" + bytes(1000), b"", b"TS", DISCO[:5]):
            assert not passes(ends, packet(version, payload))
        assert not passes(ends, packet(version, b"TS\xf0\x9f\x92\xad" + bytes(60)))
        assert not passes(ends, packet(version, bytes.fromhex("00007a120001c801") + bytes(40)))
        assert not passes(ends, b"")


def test_ok__ip_header_with_options_and_other_protocols() -> None:
    with filtered(port_filter(4, PORT)) as ends:
        assert passes(ends, packet(4, DISCO, options=bytes(12)))
        assert not passes(ends, packet(4, DISCO, protocol=6))


def test_ok__nothing_is_lost_that_classify_knows() -> None:
    random_bytes = random.Random(7)
    wanted = (PacketKind.DISCO, PacketKind.STUN, PacketKind.GENEVE_DISCO, PacketKind.GENEVE_WIREGUARD)
    with filtered(port_filter(6, PORT)) as ends:
        for _ in range(3000):
            start = random_bytes.choice((DISCO, STUN, GENEVE_DISCO, GENEVE_WIREGUARD, WIREGUARD))
            mutated = bytearray(start)
            mutated[random_bytes.randrange(10)] ^= 1 << random_bytes.randrange(8)
            payload = bytes(mutated[: random_bytes.choice((len(start), random_bytes.randrange(1, 30)))])
            kind = classify(payload)
            passed = passes(ends, packet(6, payload))
            assert passed or kind not in wanted, payload.hex()
            assert not passed or kind is not PacketKind.WIREGUARD, payload.hex()


def test_ok__interfaces_are_looked_at_first() -> None:
    plain, choosy = port_filter(4, PORT), port_filter(4, PORT, (1, 7))
    assert choosy.endswith(plain)
    assert struct.unpack_from("=HBBI", choosy) == (0x20, 0, 0, 0xFFFFF008)
    steps = [struct.unpack_from("=HBBI", choosy, 8 * number) for number in (1, 2)]
    last = len(choosy) // 8 - 1
    assert [(code, place + 2 + yes, no, value) for place, (code, yes, no, value) in enumerate(steps)] == [
        (0x15, last, 0, 1),
        (0x15, last, 0, 7),
    ]
    assert struct.unpack_from("=HBBI", choosy, 8 * last) == (0x06, 0, 0, 0)
