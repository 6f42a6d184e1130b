"""Waypost's own programs in the lab: a control server, gateways, a web server on a LAN host."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.lab.namespaces import SEARCH_PATH, LabError
from tests.lab.processes import PATIENCE, Process, wait_until
from tests.lab.topology import CONTROL_IP

if TYPE_CHECKING:
    from tests.lab.namespaces import Namespace

PROGRAMS = Path(sys.executable).parent
CONTROL_PORT = 8080
CONTROL_URL = f"http://{CONTROL_IP}:{CONTROL_PORT}"


@dataclass
class CommandResult:
    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        return json.loads(self.stdout)


def command(host: Namespace, *arguments: str, timeout_s: float = 60, stdin: str | None = None) -> CommandResult:
    """Run a program of ours inside a host and wait for its end."""
    result = subprocess.run(
        [*host.enter, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s * PATIENCE,
        env={**os.environ, "PATH": SEARCH_PATH},
    )
    return CommandResult(result.returncode, result.stdout, result.stderr)


@dataclass
class ControlServer:
    """`waypost-control serve` on a public host; `wrapper` are words before the command."""

    host: Namespace
    directory: Path
    extra: tuple[str, ...] = ()
    wrapper: tuple[str, ...] = ()
    process: Process | None = None

    @property
    def socket(self) -> Path:
        return self.directory / "control.sock"

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.process = self.host.start(
            "waypost-control",
            *self.wrapper,
            str(PROGRAMS / "waypost-control"),
            "serve",
            "--data-dir",
            str(self.directory),
            "--listen",
            f"0.0.0.0:{CONTROL_PORT}",
            "--derp-host",
            CONTROL_IP,
            "--socket",
            str(self.socket),
            *self.extra,
        )
        wait_until(self._ready, 30, "the control server's admin socket")

    def _ready(self) -> bool:
        assert self.process is not None
        if not self.process.running:
            raise AssertionError(f"waypost-control ended:\n{self.process.output()[-4000:]}")
        return self.socket.exists() and self.run("users", "list", "--json").code == 0

    def run(self, *arguments: str) -> CommandResult:
        return command(self.host, str(PROGRAMS / "waypost-control"), *arguments, "--socket", str(self.socket))

    def json(self, *arguments: str) -> Any:
        result = self.run(*arguments, "--json")
        if result.code:
            raise LabError(f"waypost-control {' '.join(arguments)}: {result.stderr.strip() or result.stdout.strip()}")
        return result.json()

    def pre_auth_key(self, user: str = "demo", *options: str) -> str:
        """A new key; the user is made when it does not exist."""
        if user not in {entry["name"] for entry in self.json("users", "list")}:
            self.json("users", "create", user)
        return str(self.json("preauthkeys", "create", "--user", user, *options)["key"])


@dataclass
class Gateway:
    """`waypostd` on a host, steered by the `waypost` command line as a person would. `wrapper`: words before it."""

    host: Namespace
    directory: Path
    options: tuple[str, ...] = ()
    process: Process | None = None
    starts: int = field(default=0)
    url: str = CONTROL_URL
    wrapper: tuple[str, ...] = ()

    @property
    def socket(self) -> Path:
        return self.directory / "waypostd.sock"

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.starts += 1
        self.process = self.host.start(
            f"waypostd-{self.starts}",
            *self.wrapper,
            str(PROGRAMS / "waypostd"),
            "--state-dir",
            str(self.directory / "state"),
            "--socket",
            str(self.socket),
            *self.options,
        )
        wait_until(self._ready, 30, f"the LocalAPI of {self.host.name}")

    def _ready(self) -> bool:
        assert self.process is not None
        if not self.process.running:
            raise AssertionError(f"waypostd ended:\n{self.process.output()[-4000:]}")
        return self.socket.exists() and self.run("status", "--json").code == 0

    def run(self, *arguments: str, timeout_s: float = 60, stdin: str | None = None) -> CommandResult:
        return command(
            self.host,
            str(PROGRAMS / "waypost"),
            "--socket",
            str(self.socket),
            *arguments,
            timeout_s=timeout_s,
            stdin=stdin,
        )

    def must(self, *arguments: str, timeout_s: float = 60, stdin: str | None = None) -> str:
        result = self.run(*arguments, timeout_s=timeout_s, stdin=stdin)
        if result.code:
            raise LabError(
                f"waypost {' '.join(arguments)} on {self.host.name}: {result.stderr.strip() or result.stdout.strip()}"
            )
        return result.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.must(*arguments, "--json"))

    def up(self, key: str, *options: str) -> None:
        """Join; the key goes in by standard input, never by the argument list."""
        self.must("up", "--login-server", self.url, "--auth-key", "-", *options, stdin=key)

    def status(self) -> Any:
        return self.json("status")

    def path_to(self, name: str) -> str:
        """Path kind to the peer of that name: direct, peer-relay, derp, none; "" while it is unknown."""
        for peer in self.status()["peers"]:
            if peer["name"].partition(".")[0] == name:
                return str(peer["path"]["kind"])
        return ""

    def path_history(self, name: str) -> list[tuple[datetime, str]]:
        """When which path kind to the peer of that name became the best, oldest first."""
        keys = {peer["name"].partition(".")[0]: peer["node_key"] for peer in self.status()["peers"]}
        short = keys[name].removeprefix("nodekey:")[:8]
        lines = map(json.loads, self.must("debug", "events", "--no-follow", "--json").splitlines())
        return [
            (datetime.fromisoformat(line["at"]), line["fields"]["path"])
            for line in lines
            if line["kind"] == "path" and line["fields"]["peer"] == short
        ]

    def wait_for_path(self, name: str, kind: str, timeout_s: float = 30) -> float:
        return wait_until(lambda: self.path_to(name) == kind, timeout_s, f"{self.host.name} to reach {name} by {kind}")

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        pid = self.process.popen.pid
        self.process.kill()
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), 5, "the killed gateway to be gone")


def web_server(host: Namespace, ip: str, directory: Path, port: int = 80) -> Process:
    """Serve a directory over HTTP on a LAN host; returns when it listens."""
    process = host.start(
        "web", sys.executable, "-u", "-m", "http.server", str(port), "--bind", ip, "--directory", str(directory)
    )
    process.wait_for_output("Serving HTTP")
    return process


def page(directory: Path, text: str) -> None:
    """Write the index page of a web server."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "index.html").write_text(text)


def large_file(directory: Path, megabytes: int) -> str:
    """Write `large.bin` of pseudo-random bytes; its SHA-256."""
    directory.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with (directory / "large.bin").open("wb") as file:
        for number in range(megabytes):
            block = hashlib.shake_128(number.to_bytes(8, "big")).digest(1 << 20)
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def fetch(host: Namespace, url: str, timeout_s: float = 5) -> str | None:
    """GET a page with curl; None when it does not come."""
    result = command(host, "curl", "-sS", "--fail", "--max-time", str(timeout_s), url, timeout_s=timeout_s + 5)
    return result.stdout if result.code == 0 else None


def fetch_hash(host: Namespace, url: str, timeout_s: float) -> tuple[str, float]:
    """GET a file; its SHA-256 and the seconds it took."""
    started = time.monotonic()
    result = command(
        host,
        "sh",
        "-c",
        f"curl -sS --fail --max-time {timeout_s:g} {url} | sha256sum",
        timeout_s=timeout_s + 5,
    )
    return result.stdout.split()[0] if result.stdout else "", time.monotonic() - started
