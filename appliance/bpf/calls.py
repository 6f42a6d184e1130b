"""The bpf(2) call: maps and programs as descriptors, without a library.

Making either needs CAP_BPF and, for a program of the network, CAP_NET_ADMIN, both outside any user namespace. Reading
and writing a map needs its descriptor alone (Linux 5.19; before that CAP_BPF where unprivileged BPF is off).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

from appliance.bpf.assembler import program_size

_NUMBERS = {
    ("x86_64", 8): 321, ("aarch64", 8): 280, ("riscv64", 8): 280, ("ppc64le", 8): 361, ("s390x", 8): 351,
    ("x86_64", 4): 357, ("i686", 4): 357, ("aarch64", 4): 386, ("armv7l", 4): 386, ("armv6l", 4): 386,
}  # fmt: skip
"""Of the call, by machine and bytes of a pointer of this process."""
_MAP_CREATE, _LOOKUP, _UPDATE, _DELETE, _PROGRAM_LOAD = 0, 1, 2, 3, 5
HASH, ARRAY = 1, 2
ON_DEMAND = 1
"""Map flag BPF_F_NO_PREALLOC: memory for what is in a hash map only."""
_SCHED_CLS = 3
_LICENSE = b"Apache-2.0\0"
_LOG_BYTES = 1 << 20
_LOG_TOLD = 200
_CREATE_ATTR = struct.Struct("=7I16s")
_ELEMENT_ATTR = struct.Struct("=I4xQQQ")
_LOAD_ATTR = struct.Struct("=IIQQIIQII16sII")

_libc = ctypes.CDLL(None, use_errno=True)


def create_map(kind: int, key_size: int, value_size: int, entries: int, name: str, flags: int = 0) -> int:
    """A descriptor. Raises `OSError`."""
    return _call(_MAP_CREATE, _CREATE_ATTR.pack(kind, key_size, value_size, entries, flags, 0, 0, name.encode()))


def load_classifier(code: bytes, name: str) -> int:
    """A program for tc. Raises `OSError`: EPERM without the rights, else with the end of the kernel's log."""
    try:
        return _load(code, name, None)
    except OSError as error:
        if error.errno == errno.EPERM:
            raise
        log = ctypes.create_string_buffer(_LOG_BYTES)
        try:
            return _load(code, name, log)
        except OSError:
            said = log.value.decode(errors="replace").strip()[-_LOG_TOLD:].replace("\n", "; ")
            raise OSError(error.errno, f"{error.strerror}{': ' if said else ''}{said}") from error


def _load(code: bytes, name: str, log: ctypes.Array[ctypes.c_char] | None) -> int:
    instructions, license_ = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(_LICENSE)
    wanted = (1, len(log), ctypes.addressof(log)) if log is not None else (0, 0, 0)
    where = ctypes.addressof(instructions), ctypes.addressof(license_)
    size = program_size(code)
    return _call(_PROGRAM_LOAD, _LOAD_ATTR.pack(_SCHED_CLS, size, *where, *wanted, 0, 0, name.encode(), 0, 0))


def look_up(descriptor: int, key: bytes, size: int) -> bytes | None:
    """The value of `size` bytes; None where there is none. Raises `OSError`."""
    value = ctypes.create_string_buffer(size)
    try:
        _element(_LOOKUP, descriptor, key, value)
    except FileNotFoundError:
        return None
    return value.raw


def update(descriptor: int, key: bytes, value: bytes) -> None:
    """Put or replace. Raises `OSError`, E2BIG when the map is full."""
    _element(_UPDATE, descriptor, key, ctypes.create_string_buffer(value, len(value)))


def delete(descriptor: int, key: bytes) -> None:
    """One that is not there is fine. Raises `OSError`."""
    try:
        _element(_DELETE, descriptor, key, None)
    except FileNotFoundError:
        return


def _element(command: int, descriptor: int, key: bytes, value: ctypes.Array[ctypes.c_char] | None) -> None:
    held = ctypes.create_string_buffer(key, len(key))
    address = ctypes.addressof(value) if value is not None else 0
    _call(command, _ELEMENT_ATTR.pack(descriptor, ctypes.addressof(held), address, 0))


def _call(command: int, attributes: bytes) -> int:
    """The kernel's answer; a descriptor is closed on exec. Raises `OSError`."""
    number = _NUMBERS.get((platform.machine(), ctypes.sizeof(ctypes.c_void_p)))
    if number is None:
        raise OSError(errno.ENOSYS, f"bpf(2) is not known on {platform.machine()}")
    held = ctypes.create_string_buffer(attributes, len(attributes))
    result: int = _libc.syscall(
        ctypes.c_long(number), ctypes.c_int(command), ctypes.byref(held), ctypes.c_uint(len(attributes))
    )
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
