"""Gives up for good what a process does not need: user, groups, capabilities, the way to new ones."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import stat
from pathlib import Path

from appliance.types.errors import PrivilegeError

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
CAPABILITY_VERSION_3 = 0x20080522
LAST_CAPABILITY = 40
"""CAP_CHECKPOINT_RESTORE, the last of Linux 6; a number that the kernel does not know is refused, which is fine."""

_libc = ctypes.CDLL(None, use_errno=True)


def give_up_privileges(user: str = "") -> None:
    """Become `user` ("": stay), without capabilities and with no way to gain any. Raises `PrivilegeError`.

    What remains of root after that is its ownership of files.
    """
    try:
        for number in range(LAST_CAPABILITY + 1):
            _libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
        if user:
            entry = pwd.getpwnam(user)
            os.setgroups([])
            os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
            os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
        _drop_capabilities()
        _prctl(PR_SET_NO_NEW_PRIVS, 1)
    except (KeyError, OSError) as error:
        raise PrivilegeError(f"privileges cannot be given up: {error}", mend="start it by its unit") from error


def die_with_parent() -> None:
    """The kernel ends this process when its parent's thread ends."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def set_process_name(name: str) -> None:
    """What `ps` shows; 15 bytes."""
    _libc.prctl(PR_SET_NAME, ctypes.c_char_p(name.encode()[:15]), 0, 0, 0)


def can_run_python_as(uid: int, *files: str) -> bool:
    """Whether everyone, hence that user, may read these files and go through their folders."""
    if uid == os.geteuid():
        return True
    for file in files:
        path = Path(file).resolve()
        if not path.stat().st_mode & stat.S_IROTH:
            return False
        if not all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents):
            return False
    return True


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def holds_capabilities(status: Path = Path("/proc/self/status")) -> bool:
    """Whether this process has or may take any capability."""
    lines = [line.split() for line in status.read_text().splitlines() if line.startswith(("CapPrm:", "CapInh:"))]
    return any(int(value, 16) for _, value in lines)


def _drop_capabilities() -> None:
    if not holds_capabilities():
        return  # a unit's filter refuses even the call
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    if _libc.capset(header, none) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
