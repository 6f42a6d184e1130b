"""What the helper does to the machine, behind one seam: Linux, and the twin that only notes it.

No method takes a path or a command from a caller. Files are replaced atomically. Methods raise OSError.
"""

from __future__ import annotations

import os
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from appliance.bpf.relay_loader import RelayDescriptors, load_relay
from appliance.helper.resolver import ENVIRONMENT, ResolverKeeper, render_resolver, replace_file
from appliance.proto.helper.messages import SetResolver

HOSTNAME_FILE = "etc/hostname"
REBOOT = ("systemctl", "--no-block", "reboot")
REBOOT_TIMEOUT_S = 10


class Machine(Protocol):
    def set_sysctl(self, key: str, value: str) -> None:
        """`key` is a path below /proc/sys that the caller has checked."""
        ...

    def set_hostname(self, name: str) -> None: ...

    def set_resolver(self, wish: SetResolver) -> None: ...

    def load_relay(self, port: int, mark: int) -> RelayDescriptors:
        """Put the relay's program into the kernel; the caller closes the descriptors."""
        ...

    def reboot(self) -> None:
        """Ask for a restart; returns before it happens."""
        ...


class LinuxMachine:
    """This machine. `root` is where its file system begins, "/" but in tests."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def set_sysctl(self, key: str, value: str) -> None:
        descriptor = os.open(self._root / "proc/sys" / key, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)  # never creates
        try:
            os.write(descriptor, value.encode() + b"\n")
        finally:
            os.close(descriptor)

    def set_hostname(self, name: str) -> None:
        replace_file(self._root / HOSTNAME_FILE, name + "\n")
        socket.sethostname(name)

    def set_resolver(self, wish: SetResolver) -> None:
        ResolverKeeper(self._root).apply(wish)

    def load_relay(self, port: int, mark: int) -> RelayDescriptors:
        return load_relay(port, mark)

    def reboot(self) -> None:
        """By the service manager, so that services stop in order and file systems are written out."""
        done = subprocess.run(REBOOT, capture_output=True, timeout=REBOOT_TIMEOUT_S, check=False, env=ENVIRONMENT)
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip()[:200]
            raise OSError(0, f"systemctl refused to reboot: {reason or f'exit code {done.returncode}'}")


@dataclass
class MemoryMachine:
    """The twin: notes what it was told; `refuse_with` makes every call fail."""

    calls: list[tuple[str, ...]] = field(default_factory=list)
    refuse_with: OSError | None = None

    def set_sysctl(self, key: str, value: str) -> None:
        self._note("sysctl", key, value)

    def set_hostname(self, name: str) -> None:
        self._note("hostname", name)

    def set_resolver(self, wish: SetResolver) -> None:
        self._note("resolver", render_resolver(wish) if wish.nameservers else "")

    def load_relay(self, port: int, mark: int) -> RelayDescriptors:
        """Descriptors of nothing, so that passing them on is the real thing."""
        self._note("relay", str(port), str(mark))
        program, pairs, lease = (os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) for _ in range(3))
        return RelayDescriptors(program, pairs, lease)

    def reboot(self) -> None:
        self._note("reboot")

    def _note(self, *call: str) -> None:
        if self.refuse_with is not None:
            raise self.refuse_with
        self.calls.append(call)
