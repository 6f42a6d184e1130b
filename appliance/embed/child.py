"""The node's own daemon: `waypostd --rootless` as a child that ends with this process, however that ends."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

from appliance.embed.errors import NodeError

START_S = 60.0
END_S = 15.0
_POLL_S = 0.02
CONFIG = """# Settings of this embedded node; the program that runs it decides the rest.
[plugins.status_page]
enabled = false
"""
_LAST_LINES_BYTES = 4096


class ChildDaemon:
    """Started by `start`, ended by `close`. The other end of its lifeline is held by this process alone."""

    def __init__(self, process: subprocess.Popen[bytes], lifeline: int, log: Path) -> None:
        self._process = process
        self._lifeline = lifeline
        self._log = log

    @classmethod
    def start(cls, state_dir: Path, socket: Path, *, port: int = 0) -> Self:
        """The state folder gets its log (`waypostd.log`) and settings (`waypost.toml`, kept). Raises `NodeError`."""
        log, config = state_dir / "waypostd.log", state_dir / "waypost.toml"
        theirs, ours = os.pipe()
        command = [sys.executable, "-m", "appliance.daemon", "--rootless", "--state-dir", str(state_dir)]
        command += ["--socket", str(socket), "--port", str(port), "--log-format", "json", "--lifeline", str(theirs)]
        command += ["--config", str(config)]
        try:
            if not config.exists():
                config.write_text(CONFIG)
            with log.open("wb") as output:
                process = _spawn(command, theirs, output)
        except OSError as error:
            os.close(ours)
            raise NodeError(f"the node cannot be started: {error}", mend="check the state folder") from error
        finally:
            os.close(theirs)
        return cls(process, ours, log)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait_for(self, socket: Path) -> None:
        """Until it listens there. Raises `NodeError` with its own words when it ends before."""
        try:
            async with asyncio.timeout(START_S):
                while not os.path.exists(socket):  # noqa: ASYNC240, PTH110  # a look, not a read
                    self.check()
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise NodeError("the node did not start in time", mend=f"see {self._log}") from None

    def check(self) -> None:
        """Raises `NodeError` when it has ended."""
        if self._process.poll() is not None:
            words, _, mend = self._last_line().partition(" → ")
            raise NodeError(f"the node has ended: {words}", mend=mend or f"see {self._log}")

    async def close(self) -> None:
        """Let it tell control and clean up; then make sure. Safe to call twice."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        await asyncio.to_thread(self._reap)

    def _reap(self) -> None:
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _last_line(self) -> str:
        with suppress(OSError), self._log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LAST_LINES_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
            return lines[-1].removeprefix("waypostd: ") if lines else ""
        return ""


def _spawn(command: list[str], lifeline: int, output: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        pass_fds=[lifeline],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
