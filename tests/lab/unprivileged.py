"""Programs as their units run them: an ordinary user, few capabilities, the unit's filters, perhaps no /proc/sys.

Each has its own mount namespace, in which /dev/net/tun may be opened by everyone, as udev sets it on an ordinary
host, and in which the Python of the tests can be reached; the host's own files stay as they are.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.mesh import PROGRAMS, Gateway
from tests.lab.processes import Process, wait_until
from tests.lab.unit_sandbox import directives

if TYPE_CHECKING:
    from tests.lab.namespaces import Namespace

UID = 61234
CONTROL_UID = 61235
"""Of nobody; files and processes of gateways and of the control server carry them."""
ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "systemd"
CAPABILITY_NUMBERS = {"cap_net_bind_service": 10, "cap_net_admin": 12, "cap_net_raw": 13, "cap_sys_admin": 21}


def capabilities(unit: str, directive: str) -> list[str]:
    return " ".join(directives(UNITS / unit).get(directive, [])).lower().split()


def capability_mask(unit: str) -> int:
    return sum(1 << CAPABILITY_NUMBERS[name] for name in capabilities(unit, "AmbientCapabilities"))


def as_unit(unit: str, folder: Path, uid: int, *, kernel_settings: bool = True) -> list[str]:
    """The words before a command that run it as `uid` under the unit's limits; `folder` is made for that user.

    `kernel_settings`: whether /proc/sys is writable.
    """
    read_only = ["mount --bind /proc/sys /proc/sys", "mount -o remount,bind,ro /proc/sys"]
    own_mounts = _own_mounts(folder, uid, [] if kernel_settings else read_only)
    bounding, ambient = capabilities(unit, "CapabilityBoundingSet"), capabilities(unit, "AmbientCapabilities")
    limits = [
        "--bounding-set",
        _only(bounding),
        "--inh-caps",
        _only(ambient),
        "--ambient-caps",
        _only(ambient),
    ]
    sandbox = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.lab.unit_sandbox", str(UNITS / unit), "--"]
    return [*own_mounts, "setpriv", *_identity(uid), *limits, *sandbox]


def as_user(folder: Path, uid: int, *mounts: str) -> list[str]:
    """The words before a command that run it as an ordinary user, without any capability, as from a login shell.

    `folder` is made for that user; `mounts` are further commands for its mount namespace.
    """
    return [*_own_mounts(folder, uid, list(mounts)), "setpriv", *_identity(uid), "--inh-caps", "-all", "--"]


def _own_mounts(folder: Path, uid: int, more: list[str]) -> list[str]:
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    os.chown(folder, uid, uid)
    script = ["set -e", *_open_python(folder / "mounts"), *_open_tun(folder / "mounts"), *more, 'exec "$@"']
    return ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", "\n".join(script), "sh"]


def _identity(uid: int) -> list[str]:
    return ["--reuid", str(uid), "--regid", str(uid), "--clear-groups", "--no-new-privs", "--pdeathsig", "KILL"]


def _only(names: list[str]) -> str:
    return ",".join(["-all", *(f"+{name.removeprefix('cap_')}" for name in names)])


@dataclass
class UnprivilegedGateway(Gateway):
    """`kernel_settings`: whether /proc/sys is writable for the daemon."""

    kernel_settings: bool = True

    @property
    def helper_socket(self) -> Path:
        return self.directory.with_name(f"{self.directory.name}-helper") / "helper.sock"

    def start(self) -> None:
        prefix = as_unit("waypostd.service", self.directory, UID, kernel_settings=self.kernel_settings)
        config = self.directory / "waypost.toml"
        config.write_text(f'[daemon]\nhelper_socket = "{self.helper_socket}"\n')
        self.starts += 1
        daemon = [str(PROGRAMS / "waypostd"), "--config", str(config), "--state-dir", str(self.directory / "state")]
        daemon += ["--socket", str(self.socket), *self.options]
        self.process = self.host.start(f"waypostd-{self.starts}", *prefix, *daemon)
        wait_until(self._ready, 30, f"the LocalAPI of {self.host.name}")

    def start_helper(self) -> Process:
        """Root with what its unit leaves it, started by the first call, as systemd would."""
        prefix = as_unit("waypost-helper.service", self.helper_socket.parent, 0)
        listen = ["systemd-socket-activate", "--seqpacket", f"--listen={self.helper_socket}", "--"]
        command = [*listen, *prefix, str(PROGRAMS / "waypost-helper"), "--user", str(UID), "--idle", "0"]
        process = self.host.start("waypost-helper", *command)
        wait_until(self.helper_socket.exists, 15, "the helper's socket")
        os.chown(self.helper_socket, 0, UID)
        self.helper_socket.chmod(0o660)
        return process


def _open_python(scratch: Path) -> list[str]:
    """Commands that let everyone reach the interpreter and this checkout, where they lie in somebody's home."""
    trees = {Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), ROOT}
    closed = {tree: parent for tree in trees for parent in reversed(tree.parents) if not parent.stat().st_mode & 1}
    kept = {tree: scratch / f"tree{number}" for number, tree in enumerate(sorted(closed))}
    binds = [f"mkdir -p {where}; mount --bind {tree} {where}" for tree, where in kept.items()]
    covers = [f"mount -t tmpfs -o mode=755 none {parent}" for parent in sorted(set(closed.values()))]
    return [*binds, *covers, *(f"mkdir -p {tree}; mount --bind {where} {tree}" for tree, where in kept.items())]


def _open_tun(scratch: Path) -> list[str]:
    devices = scratch / "dev"
    return [
        f"mkdir -p {devices}; mount -t tmpfs -o mode=755 none {devices}",
        f"mknod -m 666 {devices}/tun c 10 200; mount --bind {devices}/tun /dev/net/tun",
    ]


def inhabitants(host: Namespace) -> dict[int, dict[str, str]]:
    """Every process of the host's network namespace: its /proc status, and its command line as `Command`."""
    own = os.stat(f"/proc/{host.anchor.pid}/ns/net").st_ino
    found: dict[int, dict[str, str]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            if (entry / "ns/net").stat().st_ino == own:
                lines = (line.partition(":") for line in (entry / "status").read_text().splitlines())
                found[int(entry.name)] = {key: value.strip() for key, _, value in lines}
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found[int(entry.name)]["Command"] = command.strip()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            found.pop(int(entry.name), None)  # it has ended, or is not of the lab
    return found
