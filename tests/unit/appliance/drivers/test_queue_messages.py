"""Queue messages, byte by byte; the kernel takes them in tests/lab."""

import struct

import pytest

from appliance.drivers.netlink_messages import attribute, attributes
from appliance.drivers.queue_messages import (
    all_queues,
    class_payload,
    fair_payload,
    parse_queue,
    removal_payload,
    root_payload,
)
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
    assert parse_queue(made) == (3, ROOT_HANDLE)
    assert all_queues(3) == struct.pack("=IiIII", 0, 3, 0, 0, 0)


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


def test_fail__cut_off() -> None:
    with pytest.raises(DecodeError):
        parse_queue(bytes(19))
