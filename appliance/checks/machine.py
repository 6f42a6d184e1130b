"""Looks at the machine itself, the same for gateway and control server. Reading only."""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path

from appliance.types.findings import FAILED, OK, WARNING, Finding

MIN_FREE_BYTES = 512 << 20
MIN_FREE_SHARE = 0.05
_TIMEX_BYTES = 512
"""Room for the kernel's struct timex; its first member, modes, is 0: look, change nothing (adjtimex(2))."""
_TIME_ERROR = 5


def clock_is_kept() -> bool:
    """Whether something keeps the kernel's clock right, by the kernel's own word."""
    state: int = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return state not in (-1, _TIME_ERROR)


def clock(*, is_kept: bool) -> Finding:
    if is_kept:
        return Finding("clock", OK, "a time service keeps the clock")
    mend = "let the machine keep time: systemctl enable --now systemd-timesyncd"
    return Finding("clock", WARNING, "nothing keeps the clock right; keys would expire at the wrong time", mend)


def disk(folder: Path, setting: str) -> Finding:
    """Room and rights where the state lies; `setting` names it in the configuration."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        return Finding("disk", FAILED, f"{folder}: {error.strerror}", f"check {setting}")
    free = f"{usage.free >> 20} MiB free in {folder}"
    if usage.free < MIN_FREE_BYTES and usage.free < usage.total * MIN_FREE_SHARE:
        return Finding("disk", FAILED, f"only {free}", "make room: a full disk stops every change")
    if not os.access(folder, os.W_OK):
        return Finding("disk", FAILED, f"{folder} is not writable", "run it as its own user or root")
    return Finding("disk", OK, free)
