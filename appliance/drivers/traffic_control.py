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

from appliance.drivers.netlink_messages import (
    ACK,
    ERROR,
    HEADER,
    REQUEST,
    attribute,
    attributes,
    check,
    messages,
    nested,
)
from appliance.types.errors import DecodeError

_DUMP, _CREATE, _EXCLUSIVE = 0x300, 0x400, 0x200
_DONE = 3
_NEW_QDISC, _DEL_QDISC = 36, 37
_NEW_FILTER, _DEL_FILTER, _GET_FILTER = 44, 45, 46
_TCMSG = struct.Struct("=BxxxiIII")
_CLSACT, _CLSACT_HANDLE = 0xFFFFFFF1, 0xFFFF0000
_INGRESS, _EGRESS = 0xFFFFFFF2, 0xFFFFFFF3
_KIND, _OPTIONS = 1, 2
_BPF_FD, _BPF_NAME, _BPF_FLAGS = 6, 7, 8
_DIRECT_ACTION = 1
_ALL_PROTOCOLS = socket.htons(3)
PRIORITY = 0x5750
"""Behind those of others, which mostly take small numbers or let the kernel choose a large one."""
_GONE = (errno.ENOENT, errno.EINVAL, errno.ENODEV, errno.EOPNOTSUPP)
"""Nothing is there; the last where the kernel has no traffic control."""
_TIMEOUT_S = 2.0
_BUFFER = 1 << 17


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
            _ask(kernel, _NEW_QDISC, _CREATE | _EXCLUSIVE, index, _CLSACT_HANDLE, _CLSACT, 0, _text(_KIND, "clsact"))
        options = attribute(_BPF_FD, struct.pack("=I", program)) + _text(_BPF_NAME, name)
        options += attribute(_BPF_FLAGS, struct.pack("=I", _DIRECT_ACTION))
        info = PRIORITY << 16 | _ALL_PROTOCOLS
        _ask(kernel, _NEW_FILTER, _CREATE, index, 1, _INGRESS, info, _text(_KIND, "bpf") + nested(_OPTIONS, options))


def detach(index: int, name: str) -> bool:
    """Remove the filters of that name, and the place of filters when it is empty then; whether there were any.

    Raises `OSError`; a device that is gone is fine.
    """
    with _kernel() as kernel:
        try:
            ours = [each for each in _filters(kernel, index, _INGRESS) if each.name == name]
            for each in ours:
                _ask(kernel, _DEL_FILTER, 0, index, each.handle, _INGRESS, each.info, _text(_KIND, each.kind))
            if ours and not any(_filters(kernel, index, parent) for parent in (_INGRESS, _EGRESS)):
                _ask(kernel, _DEL_QDISC, 0, index, _CLSACT_HANDLE, _CLSACT, 0, b"")
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return False
    return bool(ours)


def detach_everywhere(name: str) -> list[str]:
    """Remove what a killed run left on any device; the devices' names. Raises `OSError`."""
    return [device for index, device in socket.if_nameindex() if detach(index, name)]


def _kernel() -> socket.socket:
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    kernel.settimeout(_TIMEOUT_S)
    kernel.bind((0, 0))
    return kernel


def _text(kind: int, text: str) -> bytes:
    return attribute(kind, text.encode() + b"\0")


def request(kind: int, flags: int, index: int, handle: int, parent: int, info: int, rest: bytes) -> bytes:
    body = _TCMSG.pack(socket.AF_UNSPEC, index, handle, parent, info) + rest
    return HEADER.pack(HEADER.size + len(body), kind, REQUEST | flags, 1, 0) + body


def _ask(
    kernel: socket.socket, kind: int, flags: int, index: int, handle: int, parent: int, info: int, rest: bytes
) -> None:
    """Raises the OSError that the kernel answers with."""
    kernel.send(request(kind, ACK | flags, index, handle, parent, info, rest))
    for _, answer, payload in messages(kernel.recv(_BUFFER)):
        if answer == ERROR:
            check(payload)


def _filters(kernel: socket.socket, index: int, parent: int) -> list[Filter]:
    """Raises `OSError`."""
    kernel.send(request(_GET_FILTER, _DUMP, index, 0, parent, 0, b""))
    found: list[Filter] = []
    while True:
        for _, kind, payload in messages(kernel.recv(_BUFFER)):
            if kind == _DONE:
                return found
            if kind == ERROR:
                check(payload)
            elif kind == _NEW_FILTER:
                found += parse_filter(payload)


def parse_filter(payload: bytes) -> Iterator[Filter]:
    """The filter of a message of a dump; nothing for a chain's own entry, which has no handle."""
    try:
        _, _, handle, _, info = _TCMSG.unpack_from(payload)
        fields = dict(attributes(payload[_TCMSG.size :]))
        options = dict(attributes(fields.get(_OPTIONS, memoryview(b""))))
    except (DecodeError, struct.error):
        return
    if handle:
        yield Filter(_string(fields.get(_KIND)), _string(options.get(_BPF_NAME)), handle, info)


def _string(value: memoryview | None) -> str:
    return bytes(value).rstrip(b"\0").decode(errors="replace") if value is not None else ""
