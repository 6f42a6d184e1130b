"""A gateway's host for router tests: its namespace entered by this thread, a plain TUN device, real drivers."""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.drivers.conntrack import LinuxConntrack
from appliance.drivers.netlink import LinuxNetlink
from appliance.drivers.nftables import NftFirewall
from appliance.drivers.sysctl import FileJournal, ProcSysctl
from appliance.router.model import RouterModel
from appliance.router.service import Router
from appliance.types.events import HealthChanged
from tests.lab.namespaces import Namespace

_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_TUN_NO_PI = 0x1001
_LIBC = ctypes.CDLL(None, use_errno=True)


@contextmanager
def inside(namespace: Namespace) -> Iterator[None]:
    """Move this thread into the namespace; programs started meanwhile are there too."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/proc/{namespace.anchor.pid}/ns/net", os.O_RDONLY)
    try:
        _set(there)
        yield
    finally:
        _set(home)
        os.close(home)
        os.close(there)


def _set(fd: int) -> None:
    if _LIBC.setns(fd, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Tunnel:
    """The TUN device: what is put in comes from peers, what comes out goes to them."""

    def __init__(self, name: str = "waypost0") -> None:
        self.fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self.fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TUN_NO_PI))

    def put(self, packet: bytes) -> None:
        os.write(self.fd, packet)

    def take(self, wanted: Callable[[bytes], bool], timeout_s: float = 5) -> bytes | None:
        """The next packet that is wanted; None when none comes."""
        deadline = time.monotonic() + timeout_s
        while select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            packet = os.read(self.fd, 65536)
            if wanted(packet):
                return packet
        return None

    def close(self) -> None:
        os.close(self.fd)


class Gateway:
    """Real drivers and a router; use inside its namespace."""

    def __init__(self, journal: Path) -> None:
        self.netlink = LinuxNetlink()
        self.firewall = NftFirewall()
        self.events: list[HealthChanged] = []
        self.router = Router(
            self.netlink,
            self.firewall,
            ProcSysctl(),
            FileJournal(journal),
            conntrack=LinuxConntrack(),
            health=self.events.append,
        )

    async def apply(self, model: RouterModel) -> None:
        """As a daemon does that has nothing else to do."""
        await self.router.apply(model)
        await self.router.end_flows()


_NOT_SETTINGS = (".waypost0.", "nf_conntrack_count")


def snapshot(namespace: Namespace) -> dict[str, str]:
    """Everything that a router may change on a host. The device's own settings go with the device."""
    state = {
        words: namespace.ip(words)
        for words in (
            "-4 rule",
            "-6 rule",
            "-4 route show table all",
            "-6 route show table all",
        )
    }
    state["nft"] = namespace.run("nft", "-s", "list", "ruleset")
    settings = namespace.run("sysctl", "-a", "-r", r"^net\.", check=False).splitlines()
    state["sysctl"] = "\n".join(line for line in settings if not any(word in line for word in _NOT_SETTINGS))
    return state
