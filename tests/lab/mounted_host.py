"""A host whose /etc is a copy and whose /run is empty, in a mount namespace: the machine's own are left alone."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.mesh import CommandResult, command
from tests.lab.processes import wait_until

if TYPE_CHECKING:
    from tests.lab.namespaces import Namespace
    from tests.lab.processes import Process

MOUNTS = """set -e
mount --bind "$1" /etc
hostname "$2"
mount -t tmpfs tmpfs /run
mount -t sysfs -o ro sysfs /sys
mkdir /run/waypost-helper
shift 2
{more}
echo ready
exec sleep infinity
"""


@dataclass
class MountedHost:
    """`etc` is what the host has for /etc. `enter` runs a command inside, `environment` are NAME=value words for it."""

    host: Namespace
    directory: Path
    environment: tuple[str, ...] = ()
    etc: Path = field(init=False)
    _mounts: Process = field(init=False)

    def __post_init__(self) -> None:
        self.etc = self.directory / "etc"
        shutil.copytree("/etc", self.etc, symlinks=True, ignore=shutil.ignore_patterns("resolv.conf", "shadow*"))

    def mount(self, more: str, *words: str) -> None:
        """`more`: further lines of shell, which get `words` as their arguments."""
        unshare = ("unshare", "--mount", "--propagation", "private", "--uts")
        script = MOUNTS.format(more=more)
        arguments = (str(self.etc), self.host.name, *words)
        self._mounts = self.host.start("mounts", *unshare, "sh", "-c", script, "sh", *arguments)
        wait_until(lambda: "ready" in self._mounts.output(), 20, "the host's own /etc and /run")

    @property
    def enter(self) -> tuple[str, ...]:
        place = f"/proc/{self._mounts.popen.pid}/ns"
        return ("nsenter", f"--mount={place}/mnt", f"--uts={place}/uts", "--")

    def start(self, name: str, *arguments: str) -> Process:
        return self.host.start(name, *self.enter, "env", *self.environment, *arguments)

    def run(self, *arguments: str, stdin: str | None = None) -> CommandResult:
        return command(self.host, *self.enter, "env", *self.environment, *arguments, stdin=stdin)

    def resolv_conf(self) -> str:
        """ "" while there is none."""
        return self.run("cat", "/etc/resolv.conf").stdout
