"""Queueing disciplines as rtnetlink messages (linux/pkt_sched.h, gen_stats.h): HTB with classes of fixed rates. Pure.

The payload is struct tcmsg (20 bytes: family, filling, i32 interface, u32 handle, parent, info), the kind's name, its
options and what it counted. Rates are bytes a second; bursts are told as the time that they take, in ticks of 64 ns.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from appliance.drivers.netlink_messages import attribute, attributes, named, nested
from appliance.ports.netlink import QueueTraffic
from appliance.types.errors import DecodeError, DecodeReason

NEW_QUEUE, DELETE_QUEUE, GET_QUEUE, NEW_CLASS, GET_CLASS = 36, 37, 38, 40, 42
ROOT = 0xFFFFFFFF
KIND, OPTIONS, _COUNTED = 1, 2, 7
_BASIC, _QUEUE, _PACKETS64 = 1, 3, 8
_PARAMETERS, _INITIAL, _RATE64, _CEIL64 = 1, 2, 6, 7
PLACE = struct.Struct("=BxxxiIII")
_INITIAL_VALUES = struct.Struct("=IIIII")
_RATE = struct.Struct("=BBHhHI")
_BASIC_VALUES = struct.Struct("=QI")
_QUEUE_VALUES = struct.Struct("=IIIII")
_CLASS_VALUES = struct.Struct("=IIIII")
_NUMBER64 = struct.Struct("=Q")
_VERSION, _RATE_TO_QUANTUM = 3, 10
_ETHERNET = 1  # of the link layer: the kernel then asks for no tables of times
_MOST_32 = 0xFFFFFFFF
_TICKS_PER_S = 1e9 / 64


@dataclass(frozen=True, slots=True)
class Queue:
    """A queueing discipline or a class, with what it counted."""

    index: int
    handle: int
    parent: int
    traffic: QueueTraffic


def all_queues(index: int) -> bytes:
    return PLACE.pack(0, index, 0, 0, 0)


def classes_of(index: int, handle: int) -> bytes:
    """Those of the queue with that handle alone: a fair queue shows its flows as classes."""
    return PLACE.pack(0, index, 0, handle, 0)


def parse_queue(payload: bytes) -> Queue:
    """Also of a class. Raises `DecodeError`."""
    if len(payload) < PLACE.size:
        raise DecodeError(DecodeReason.BAD_LENGTH, "queue message")
    _family, index, handle, parent, _info = PLACE.unpack_from(payload)
    fields = dict(attributes(payload[PLACE.size :]))
    return Queue(index, handle, parent, _traffic(dict(attributes(fields.get(_COUNTED, b"")))))


def _traffic(counted: dict[int, memoryview]) -> QueueTraffic:
    """The kernel tells 64 bits of the packets only once they are more than 32 hold. Raises `DecodeError`."""
    size, packets = _unpacked(_BASIC_VALUES, counted.get(_BASIC))
    backlog_packets, backlog_bytes, dropped, _requeues, overlimits = _unpacked(_QUEUE_VALUES, counted.get(_QUEUE))
    if _PACKETS64 in counted:
        (packets,) = _unpacked(_NUMBER64, counted[_PACKETS64])
    return QueueTraffic(size, packets, dropped, overlimits, backlog_bytes, backlog_packets)


def _unpacked(values: struct.Struct, counted: memoryview | None) -> tuple[int, ...]:
    """Zeros for what is not told."""
    if counted is None:
        return values.unpack(bytes(values.size))
    if len(counted) < values.size:
        raise DecodeError(DecodeReason.BAD_LENGTH, "counters in a queue message")
    return values.unpack_from(counted)


def root_payload(index: int, handle: int) -> bytes:
    """An HTB at the root of a device; what no class takes passes freely."""
    initial = _INITIAL_VALUES.pack(_VERSION, _RATE_TO_QUANTUM, 0, 0, 0)
    return _queue(index, handle, ROOT, "htb") + nested(OPTIONS, attribute(_INITIAL, initial))


def removal_payload(index: int, handle: int) -> bytes:
    return PLACE.pack(0, index, handle, ROOT, 0)


def class_payload(index: int, handle: int, parent: int, rate: int, burst: int, quantum: int) -> bytes:
    """`rate` in bytes a second is also the ceiling; `burst` and `quantum` in bytes."""
    told = _RATE.pack(0, _ETHERNET, 0, 0, 0, min(rate, _MOST_32))
    ticks = min(int(burst / rate * _TICKS_PER_S), _MOST_32)
    made = attribute(_PARAMETERS, told + told + _CLASS_VALUES.pack(ticks, ticks, quantum, 0, 0))
    if rate > _MOST_32:
        made += attribute(_RATE64, _NUMBER64.pack(rate)) + attribute(_CEIL64, _NUMBER64.pack(rate))
    return _queue(index, handle, parent, "htb") + nested(OPTIONS, made)


def fair_payload(index: int, parent: int) -> bytes:
    """A fair queue with short delays in a class (RFC 8290)."""
    return _queue(index, 0, parent, "fq_codel")


def _queue(index: int, handle: int, parent: int, kind: str) -> bytes:
    return PLACE.pack(0, index, handle, parent, 0) + named(KIND, kind)
