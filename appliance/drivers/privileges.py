"""What this process may do, and what the machine lacks, said so that a person can mend it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path

from appliance.types.errors import PrivilegeError

STATUS = Path("/proc/self/status")
TUN_DEVICE = Path("/dev/net/tun")


class Capability(IntEnum):
    """Linux capability numbers (capability.h) of those that we use."""

    NET_BIND_SERVICE = 10
    NET_ADMIN = 12
    NET_RAW = 13


NEEDED = (Capability.NET_ADMIN, Capability.NET_RAW)


def effective_capabilities(status: Path = STATUS) -> frozenset[Capability]:
    """Those of `Capability` that this process holds now; empty where /proc does not tell."""
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        if line.startswith("CapEff:"):
            held = int(line.split()[1], 16)
            return frozenset(item for item in Capability if held >> item & 1)
    return frozenset()


def may_mark_sockets() -> bool:
    """Whether SO_MARK is allowed."""
    return Capability.NET_ADMIN in effective_capabilities()


def check_privileges(
    needed: Iterable[Capability] = NEEDED,
    *,
    status: Path = STATUS,
    tun_device: Path = TUN_DEVICE,
    need_tun: bool = True,
    programs: Iterable[str] = ("nft",),
) -> None:
    """Raise `PrivilegeError` with the first thing that is missing to run a gateway."""
    held = effective_capabilities(status)
    missing = [item for item in needed if item not in held]
    if missing:
        names = " and ".join(f"CAP_{item.name}" for item in missing)
        raise PrivilegeError(
            f"missing privilege: {names}", mend="run as root, start it through its unit, or use --rootless"
        )
    if need_tun and not tun_device.exists():
        raise PrivilegeError(f"{tun_device} is missing", mend="run `modprobe tun`, or pass the device to the container")
    for program in programs:
        if shutil.which(program) is None:
            raise PrivilegeError(f"the program {program!r} is missing", mend="install the package nftables")
