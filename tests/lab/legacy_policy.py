"""A policy for forwarding in the tables of iptables-legacy, set as that program would, in this thread's network."""

from __future__ import annotations

import ctypes
import os
import socket
import struct

_INFO = _REPLACE = 64
_ENTRIES = 65
_FORWARD = 2
_FORM = struct.Struct("=32sI5I5III")


def set_forward_policy(verdict: int) -> None:
    """-1 drops, -2 accepts. Makes the table where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as opened:
        info = _FORM.unpack(_get(opened, _INFO, b"", _FORM.size))
        valid, hooks, underflows, count, size = info[1], info[2:7], info[7:12], info[12], info[13]
        entries = bytearray(_get(opened, _ENTRIES, struct.pack("=I", size), 40 + size)[40:])
        policy = underflows[_FORWARD]
        (target,) = struct.unpack_from("=H", entries, policy + 88)
        struct.pack_into("=i", entries, policy + target + 32, verdict)
        counters = ctypes.create_string_buffer(16 * count)
        head = struct.pack("=32sIII5I5II", b"filter", valid, count, size, *hooks, *underflows, count)
        opened.setsockopt(
            socket.IPPROTO_IP, _REPLACE, head + struct.pack("=Q", ctypes.addressof(counters)) + bytes(entries)
        )


def _get(opened: socket.socket, option: int, more: bytes, size: int) -> bytes:
    buffer = ctypes.create_string_buffer(b"filter".ljust(32, b"\0") + more, size)
    length = ctypes.c_uint32(size)
    if ctypes.CDLL(None, use_errno=True).getsockopt(opened.fileno(), 0, option, buffer, ctypes.byref(length)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return buffer.raw
