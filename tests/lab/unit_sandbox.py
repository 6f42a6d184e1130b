"""Run a command under what a systemd unit says of system calls, where no systemd runs (systemd.exec(5)).

    python -m tests.lab.unit_sandbox UNIT -- COMMAND...

Applies SystemCallFilter= (groups as `systemd-analyze syscall-filter` has them), MemoryDenyWriteExecute=,
RestrictAddressFamilies= and RestrictNamespaces= through libseccomp, then becomes the command. Refused calls fail with
EPERM, which is what our units choose.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

ALLOW = 0x7FFF0000
REFUSE = 0x00050000 | errno.EPERM
EQUAL, MASKED_EQUAL = 4, 7
CLONE_FLAGS = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
"""New mount, cgroup, UTS, IPC, user, PID and network namespace."""
WRITE_EXEC = mmap.PROT_WRITE | mmap.PROT_EXEC


class Comparison(ctypes.Structure):
    """scmp_arg_cmp."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def directives(unit: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


@cache
def members(group: str) -> frozenset[str]:
    """System calls of a group, its subgroups included."""
    listing = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True)
    words = {line.strip() for line in listing.stdout.splitlines()[1:] if line.startswith("    ")}
    calls = {word for word in words if word and not word.startswith(("#", "@"))}
    return frozenset(calls.union(*(members(word) for word in words if word.startswith("@"))))


def allowed_calls(filters: list[str]) -> set[str]:
    """What an allow list, with later lines that take away or add, comes to."""
    allowed: set[str] = set()
    for line in filters:
        taken = line.startswith("~")
        for word in line.lstrip("~").split():
            calls = members(word) if word.startswith("@") else {word}
            allowed = allowed - calls if taken else allowed | calls
    return allowed | members("@default")  # execve and the like, which systemd always adds


class Filter:
    """A libseccomp filter under construction; what it does not allow fails with EPERM."""

    def __init__(self, default: int) -> None:
        self._lib = ctypes.CDLL("libseccomp.so.2", use_errno=True)
        self._lib.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._lib.seccomp_init(ctypes.c_uint32(default)))

    def rule(self, action: int, call: str, *comparisons: Comparison) -> None:
        number = self._lib.seccomp_syscall_resolve_name(call.encode())
        if number < 0:
            return  # not of this processor
        array = (Comparison * len(comparisons))(*comparisons)
        result = self._lib.seccomp_rule_add_array(
            self._context, ctypes.c_uint32(action), number, len(comparisons), array
        )
        if result:
            raise OSError(-result, f"cannot filter {call}")

    def load(self) -> None:
        if result := self._lib.seccomp_load(self._context):
            raise OSError(-result, "cannot load the filter")


def load_filters(unit: Path) -> None:
    """Each directive is a filter of its own, as systemd loads them; the strictest answer counts."""
    lines = directives(unit)
    refuse = Filter(ALLOW)
    if lines.get("MemoryDenyWriteExecute") == ["yes"]:
        refuse.rule(REFUSE, "mmap", Comparison(2, MASKED_EQUAL, WRITE_EXEC, WRITE_EXEC))
        for call in ("mprotect", "pkey_mprotect"):
            refuse.rule(REFUSE, call, Comparison(2, MASKED_EQUAL, mmap.PROT_EXEC, mmap.PROT_EXEC))
    if lines.get("RestrictNamespaces") == ["yes"]:
        for flag in CLONE_FLAGS:
            refuse.rule(REFUSE, "unshare", Comparison(0, MASKED_EQUAL, flag, flag))
            refuse.rule(REFUSE, "clone", Comparison(0, MASKED_EQUAL, flag, flag))
        refuse.rule(REFUSE, "setns")
    if families := " ".join(lines.get("RestrictAddressFamilies", ())).split():
        kept = {int(getattr(socket, name)) for name in families}
        for family in set(range(64)) - kept:
            refuse.rule(REFUSE, "socket", Comparison(0, EQUAL, family, 0))
    calls = allowed_calls(lines.get("SystemCallFilter", []))
    permit = Filter(REFUSE)
    for call in sorted(calls):
        permit.rule(ALLOW, call)
    refuse.load()
    if lines.get("SystemCallFilter"):
        permit.load()


def main() -> None:
    unit, dashes, *command = sys.argv[1:]
    assert dashes == "--"
    load_filters(Path(unit))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
