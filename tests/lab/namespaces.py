"""Network namespaces that always go away.

A namespace lives as long as its anchor process, which the kernel kills when the thread that made it ends (PDEATHSIG);
so nothing stays behind even after a kill -9 of the test run, and no name, mount or file is left. Works as root, and
as an ordinary user inside a user namespace where the kernel allows one (`enter_user_namespace`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.lab.processes import Process, wait_until


class LabError(Exception):
    """The lab cannot be built here; the text says why and what to do."""


def check_requirements() -> None:
    """Raise `LabError` in one clear line when something that the lab needs is missing."""
    for program, package in (
        ("ip", "iproute2"),
        ("nft", "nftables"),
        ("nsenter", "util-linux"),
        ("setpriv", "util-linux"),
    ):
        if shutil.which(program, path=SEARCH_PATH) is None:
            raise LabError(f"{program} is missing: install the Debian package {package}")
    tun = Path("/dev/net/tun")
    if not tun.exists():
        raise LabError("/dev/net/tun is missing: load the module (modprobe tun) or give the container the device")
    if not os.access(tun, os.R_OK | os.W_OK):
        raise LabError("/dev/net/tun may not be opened by this user: run as root, or chmod 666 /dev/net/tun")


SEARCH_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin"


def enter_user_namespace() -> None:
    """Give an ordinary user the lab: start this program again as root of a new user namespace. No return.

    Root returns at once. Raises `LabError` where the kernel forbids user namespaces.
    """
    if os.geteuid() == 0:
        return
    probe = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", "--mount", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    if probe.returncode:
        raise LabError(
            f"not root, and this kernel gives no user namespace ({probe.stderr.strip()}): run as root, or allow them "
            "(sysctl kernel.unprivileged_userns_clone=1 or kernel.apparmor_restrict_unprivileged_userns=0)"
        )
    arguments = ["unshare", "--user", "--map-root-user", "--net", "--mount", "--", sys.executable, *sys.orig_argv[1:]]
    os.execvp("unshare", arguments)  # the same program, now with every right over its own network


def run(*command: str, stdin: str | None = None, check: bool = True) -> str:
    """Run a short command; its output. Raises `LabError` with the command's own words."""
    result = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={**os.environ, "PATH": SEARCH_PATH},
    )
    if check and result.returncode:
        raise LabError(f"{' '.join(command)}: {(result.stderr or result.stdout).strip()}")
    return result.stdout


@dataclass
class Namespace:
    """One host of the lab: a network namespace with its own loopback, interfaces and firewall."""

    name: str
    anchor: subprocess.Popen[bytes]
    log_dir: Path
    processes: list[Process] = field(default_factory=list)

    @property
    def enter(self) -> tuple[str, ...]:
        """Prefix that runs a command inside, killed with the lab."""
        return ("setpriv", "--pdeathsig", "KILL", "nsenter", f"--net=/proc/{self.anchor.pid}/ns/net", "--")

    def run(self, *command: str, stdin: str | None = None, check: bool = True) -> str:
        """Run a short command inside; its standard output."""
        return run(*self.enter, *command, stdin=stdin, check=check)

    def ip(self, arguments: str) -> str:
        """`ip` with the words of one string."""
        return self.run("ip", *arguments.split())

    def nft(self, ruleset: str) -> None:
        self.run("nft", "-f", "-", stdin=ruleset)

    def sysctl(self, key: str, value: int) -> None:
        self.run("sysctl", "-q", "-w", f"{key}={value}")

    def start(self, name: str, *command: str, env: dict[str, str] | None = None) -> Process:
        """Start a long-running program inside; its output goes to a log file of the lab."""
        process = Process.start(
            f"{self.name}-{name}",
            [*self.enter, *command],
            self.log_dir,
            env={"PATH": SEARCH_PATH, **(env or {})},
        )
        self.processes.append(process)
        return process

    def attach(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a program inside on this terminal."""
        return subprocess.Popen([*self.enter, *command], env={**os.environ, "PATH": SEARCH_PATH})

    def close(self) -> None:
        for process in reversed(self.processes):
            process.stop()
        self.anchor.kill()
        self.anchor.wait()


class Lab:
    """All namespaces of one run. Use as a context manager: leaving it ends every process and namespace."""

    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir
        self.log_dir.mkdir(parents=True, exist_ok=True)
        self.namespaces: dict[str, Namespace] = {}

    def __enter__(self) -> Self:
        check_requirements()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def namespace(self, name: str) -> Namespace:
        """A new host with loopback up."""
        anchor = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--", "sleep", "infinity"],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PATH": SEARCH_PATH},
        )
        host = Namespace(name, anchor, self.log_dir)
        self.namespaces[name] = host
        own = os.stat("/proc/self/ns/net").st_ino

        def separate() -> bool:
            if anchor.poll() is not None:
                raise LabError("cannot make a network namespace: run as root")
            return os.stat(f"/proc/{anchor.pid}/ns/net").st_ino != own

        wait_until(separate, 10, f"namespace {name}")
        host.ip("link set lo up")
        host.sysctl("net.ipv6.conf.default.accept_dad", 0)  # addresses work at once
        host.sysctl("net.ipv6.conf.all.accept_dad", 0)
        return host

    def cable(self, left: Namespace, left_if: str, right: Namespace, right_if: str) -> None:
        """A virtual cable between two hosts, both ends up."""
        pid = right.anchor.pid
        left.ip(f"link add {left_if} type veth peer name {right_if} netns {pid}")
        left.ip(f"link set {left_if} up")
        right.ip(f"link set {right_if} up")

    def close(self) -> None:
        for host in reversed(self.namespaces.values()):
            host.close()
        self.namespaces.clear()
