"""A host on which the real resolvconf, Debian's or openresolv, keeps /etc/resolv.conf.

The program is unpacked by `tools/setup.sh resolvers` and laid over /usr inside the host's mount namespace: installed,
it would take the machine's own /etc/resolv.conf over.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.lab.mounted_host import MountedHost

BUILD = Path(__file__).resolve().parents[2] / "build"
MOUNT = 'mount -t overlay overlay -o "lowerdir=$1:/usr" /usr'
DEBIAN, OPENRESOLV = "resolvconf", "openresolv"
TREE = "ls -l /etc/resolv.conf | sed 's/.* //'; cd /run/resolvconf && find . -type f | sort | xargs tail -v -n +1"


class ResolvconfHost(MountedHost):
    """`use` comes first."""

    def use(self, package: str) -> None:
        """As installing the package leaves the host: `DEBIAN` or `OPENRESOLV`."""
        root, over = BUILD / package / "root", self.directory / "usr"
        for folder in ("sbin", "lib"):
            shutil.copytree(root / folder, over / folder, symlinks=True)
        shutil.copytree(root / "etc", self.etc, dirs_exist_ok=True)
        self.mount(MOUNT, str(over))
        if package == DEBIAN:
            self._must("mkdir", "-p", "/run/resolvconf/interface")
            self._must("ln", "-s", "/run/resolvconf/resolv.conf", "/etc/resolv.conf")
            self._must("resolvconf", "--enable-updates")
        self._must("resolvconf", "-u")

    def lease(self, server: str) -> None:
        """What a DHCP client does when it gets one."""
        self._must("resolvconf", "-a", "eth0.dhclient", stdin=f"search lan.example\nnameserver {server}\n")

    def everything(self) -> str:
        """What resolvconf and the programs of the host know."""
        return self.resolv_conf() + self.run("sh", "-c", TREE).stdout

    def _must(self, *words: str, stdin: str | None = None) -> None:
        done = self.run(*words, stdin=stdin)
        assert done.code == 0, done.stderr
