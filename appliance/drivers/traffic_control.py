"""Programs at the ingress of devices: tc's clsact and its bpf filters (linux/pkt_sched.h, pkt_cls.h). Blocking, quick.

A filter outlives the process that set it, so each of ours carries a name by which a later run finds and removes it.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from appliance.drivers.netlink_channel import NetlinkChannel
from appliance.drivers.netlink_messages import CREATE, EXCLUSIVE, attribute, attributes, named, nested, text
from appliance.drivers.queue_messages import DELETE_QUEUE, KIND, NEW_QUEUE, OPTIONS, PLACE
from appliance.types.errors import DecodeError

_NEW_FILTER, _DEL_FILTER, _GET_FILTER = 44, 45, 46
_CLSACT, _CLSACT_HANDLE = 0xFFFFFFF1, 0xFFFF0000
_INGRESS, _EGRESS = 0xFFFFFFF2, 0xFFFFFFF3
_BPF_FD, _BPF_NAME, _BPF_FLAGS = 6, 7, 8
_DIRECT_ACTION = 1
_ALL_PROTOCOLS = socket.htons(3)
PRIORITY = 0x5750
"""Behind those of others, which mostly take small numbers or let the kernel choose a large one."""
_GONE = (errno.ENOENT, errno.EINVAL, errno.ENODEV, errno.EOPNOTSUPP)
"""Nothing is there; the last where the kernel has no traffic control."""
_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Filter:
    """`info` is priority and protocol as the kernel has them."""

    kind: str
    name: str
    handle: int
    info: int


def attach(index: int, program: int, name: str) -> None:
    """Run a program for what comes in at a device; one of that priority is replaced. Raises `OSError`."""
    with _kernel() as kernel:
        with contextlib.suppress(FileExistsError):  # clsact is for all: each puts its filters there
            shared = place(index, _CLSACT_HANDLE, _CLSACT) + named(KIND, "clsact")
            kernel.request(NEW_QUEUE, shared, CREATE | EXCLUSIVE)
        options = attribute(_BPF_FD, struct.pack("=I", program)) + named(_BPF_NAME, name)
        options += attribute(_BPF_FLAGS, struct.pack("=I", _DIRECT_ACTION))
        where = place(index, 1, _INGRESS, PRIORITY << 16 | _ALL_PROTOCOLS)
        kernel.request(_NEW_FILTER, where + named(KIND, "bpf") + nested(OPTIONS, options), CREATE)


def detach(index: int, name: str) -> bool:
    """Remove the filters of that name, and the place of filters when it is empty then; whether there were any.

    Raises `OSError`; a device that is gone is fine.
    """
    with _kernel() as kernel:
        try:
            ours = [each for each in _filters(kernel, index, _INGRESS) if each.name == name]
            for each in ours:
                kernel.request(_DEL_FILTER, place(index, each.handle, _INGRESS, each.info) + named(KIND, each.kind))
            if ours and not any(_filters(kernel, index, parent) for parent in (_INGRESS, _EGRESS)):
                kernel.request(DELETE_QUEUE, place(index, _CLSACT_HANDLE, _CLSACT))
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return False
    return bool(ours)


def detach_everywhere(name: str) -> list[str]:
    """Remove what a killed run left on any device; the devices' names. Raises `OSError`."""
    return [device for index, device in socket.if_nameindex() if detach(index, name)]


@contextlib.contextmanager
def _kernel() -> Iterator[NetlinkChannel]:
    with contextlib.closing(NetlinkChannel(socket.NETLINK_ROUTE, limit_s=_TIMEOUT_S)) as channel:
        yield channel


def place(index: int, handle: int, parent: int, info: int = 0) -> bytes:
    """Of a queue or filter: what a message about it begins with."""
    return PLACE.pack(socket.AF_UNSPEC, index, handle, parent, info)


def _filters(kernel: NetlinkChannel, index: int, parent: int) -> list[Filter]:
    """Raises `OSError`."""
    parts = kernel.dump(_GET_FILTER, place(index, 0, parent))
    return [found for part in parts for payload in part for found in parse_filter(payload)]


def parse_filter(payload: bytes) -> Iterator[Filter]:
    """The filter of a message of a dump; nothing for a chain's own entry, which has no handle."""
    try:
        _, _, handle, _, info = PLACE.unpack_from(payload)
        fields = dict(attributes(payload[PLACE.size :]))
        options = dict(attributes(fields.get(OPTIONS, memoryview(b""))))
    except (DecodeError, struct.error):
        return
    if handle:
        yield Filter(text(fields.get(KIND)), text(options.get(_BPF_NAME)), handle, info)
