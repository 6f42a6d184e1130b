"""`waypost-control serve` as a process on loopback, with its admin socket spoken directly: quick to start and ask."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.lab.processes import Process

PROGRAM = Path(sys.executable).parent / "waypost-control"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class ControlProcess:
    """One server over one folder; may be killed and started again."""

    folder: Path
    port: int
    options: tuple[str, ...] = ()
    process: Process | None = None
    starts: int = 0

    @property
    def socket(self) -> Path:
        return self.folder / "control.sock"

    async def start(self, timeout_s: float = 15) -> float:
        """Start and wait until it answers; the seconds it took."""
        self.starts += 1
        self.process = Process.start(
            f"waypost-control-{self.starts}",
            [
                *(str(PROGRAM), "serve", "--data-dir", str(self.folder), "--socket", str(self.socket)),
                *("--listen", f"127.0.0.1:{self.port}", "--no-derp", "--tls-fallback", "none"),
                *("--log-level", "warning", *self.options),
            ],
            self.folder,
        )
        started = time.monotonic()
        while not await self._answers():
            assert self.process.running, self.process.output()
            assert time.monotonic() - started < timeout_s, "the server does not answer"
            await asyncio.sleep(0.02)
        return time.monotonic() - started

    async def _answers(self) -> bool:
        try:
            await self.admin("GET", "/v1/users")
        except (OSError, aiohttp.ClientError):
            return False
        return True

    async def admin(self, method: str, path: str, body: Any = None) -> Any:
        """One request of the admin socket; its JSON. Raises `aiohttp.ClientError`."""
        connector = aiohttp.UnixConnector(str(self.socket))
        async with (
            aiohttp.ClientSession(connector=connector, raise_for_status=True) as session,
            session.request(method, f"http://waypost-control{path}", json=body) as response,
        ):
            return await response.json()

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON, refusals too."""
        connector = aiohttp.UnixConnector(str(self.socket))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(method, f"http://waypost-control{path}", json=body) as response,
        ):
            return response.status, await response.json()

    async def pre_auth_key(self) -> str:
        """A reusable key of a new user."""
        await self.admin("POST", "/v1/users", {"name": "demo"})
        key = await self.admin("POST", "/v1/preauthkeys", {"user": "demo", "reusable": True})
        return str(key["key"])

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()
