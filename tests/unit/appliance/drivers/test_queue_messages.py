"""Queue messages, byte by byte; the kernel takes them in tests/lab."""

import struct

import pytest

from appliance.drivers.netlink_messages import attribute, attributes, nested
from appliance.drivers.queue_messages import (
    Queue,
    all_queues,
    class_payload,
    classes_of,
    fair_payload,
    parse_queue,
    removal_payload,
    root_payload,
)
from appliance.ports.netlink import QueueTraffic
from appliance.types.errors import DecodeError

ROOT_HANDLE = 0x57570000


def options(payload: bytes) -> dict[int, bytes]:
    return {kind: bytes(value) for kind, value in attributes(dict(attributes(payload[20:]))[2])}


def test_ok__the_root() -> None:
    made = root_payload(3, ROOT_HANDLE)
    assert made[:20] == struct.pack("=IiIII", 0, 3, ROOT_HANDLE, 0xFFFFFFFF, 0)
    assert made[20:28] == attribute(1, b"htb\0")
    assert options(made) == {2: struct.pack("=IIIII", 3, 10, 0, 0, 0)}
    assert removal_payload(3, ROOT_HANDLE) == made[:20]
    assert parse_queue(made) == Queue(3, ROOT_HANDLE, 0xFFFFFFFF, QueueTraffic())
    assert all_queues(3) == struct.pack("=IiIII", 0, 3, 0, 0, 0)
    assert classes_of(3, ROOT_HANDLE) == struct.pack("=IiIII", 0, 3, 0, ROOT_HANDLE, 0)


def test_ok__a_class() -> None:
    made = class_payload(3, ROOT_HANDLE | 1, ROOT_HANDLE, 1_250_000, 12_500, 16_000)
    assert made[:20] == struct.pack("=IiIII", 0, 3, ROOT_HANDLE | 1, ROOT_HANDLE, 0)
    rate = struct.pack("=BBHhHI", 0, 1, 0, 0, 0, 1_250_000)
    assert options(made) == {1: rate + rate + struct.pack("=IIIII", 156_250, 156_250, 16_000, 0, 0)}


def test_ok__a_rate_beyond_32_bits() -> None:
    made = options(class_payload(3, ROOT_HANDLE | 1, ROOT_HANDLE, 5_000_000_000, 50_000_000, 16_000))
    assert made[1][8:12] == b"\xff" * 4
    assert made[6] == made[7] == struct.pack("=Q", 5_000_000_000)


def test_ok__a_fair_queue() -> None:
    assert fair_payload(3, ROOT_HANDLE | 1)[20:] == attribute(1, b"fq_codel\0")


def counted(*parts: bytes) -> bytes:
    head = struct.pack("=IiIII", 0, 3, ROOT_HANDLE | 1, ROOT_HANDLE, 0)
    return head + attribute(1, b"htb\0") + nested(7, b"".join(parts))


BASIC = attribute(1, struct.pack("=QI4x", 5_000_000_000, 4_000))
QUEUE = attribute(3, struct.pack("=IIIII", 7, 9_000, 11, 0, 13))


def test_ok__what_a_class_counted() -> None:
    found = parse_queue(counted(BASIC, QUEUE))
    assert (found.handle, found.parent) == (ROOT_HANDLE | 1, ROOT_HANDLE)
    assert found.traffic == QueueTraffic(5_000_000_000, 4_000, 11, 13, 9_000, 7)
    more = parse_queue(counted(BASIC, QUEUE, attribute(8, struct.pack("=Q", 1 << 33))))
    assert more.traffic.sent_packets == 1 << 33, "more than 32 bits hold"
    assert parse_queue(counted(QUEUE)).traffic.sent_bytes == 0


@pytest.mark.parametrize(
    "payload",
    [bytes(19), counted(BASIC)[:-2], counted(attribute(1, bytes(8))), counted(BASIC, attribute(3, bytes(16)))],
    ids=["head", "attribute", "basic", "queue"],
)
def test_fail__cut_off(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_queue(payload)
