"""Programs under test: started with captured output, ended by pid, waited for by condition."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.02
PATIENCE = float(os.environ.get("WAYPOST_LAB_PATIENCE", "1"))
"""How much longer everything may take on an emulated machine."""


class TimeoutExceeded(AssertionError):
    """A condition did not come true in time."""


def wait_until(condition: Callable[[], object], timeout_s: float, what: str) -> float:
    """Poll until `condition()` is true; the seconds it took. Raises `TimeoutExceeded` naming `what`."""
    started = time.monotonic()
    timeout_s *= PATIENCE
    while True:
        if condition():
            return time.monotonic() - started
        if time.monotonic() - started > timeout_s:
            raise TimeoutExceeded(f"waited {timeout_s:g} s in vain for: {what}")
        pause(POLL_S * PATIENCE * PATIENCE)


def pause(seconds: float) -> None:
    """Yield the processor between two looks at a condition; never a wait for luck."""
    time.sleep(seconds)  # the one poll interval of the lab


@dataclass
class Process:
    """A running program; `log` holds its standard output and error."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(cls, name: str, command: list[str], log_dir: Path, env: dict[str, str] | None = None) -> Process:
        log = log_dir / f"{name}.log"
        with log.open("ab") as output:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
            )
        return cls(name, popen, log)

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for_output(self, text: str, timeout_s: float = 20) -> None:
        """Wait until the log holds `text`; fails at once, with the log, when the program ends before."""

        def seen() -> bool:
            found = text in self.output()
            if not found and not self.running:
                raise AssertionError(f"{self.name} ended with {self.popen.returncode}:\n{self.output()[-4000:]}")
            return found

        wait_until(seen, timeout_s, f"{text!r} in the output of {self.name}")

    def kill(self) -> None:
        """kill -9, as a power cut would."""
        self.popen.kill()
        self.popen.wait()

    def stop(self, timeout_s: float = 10) -> int:
        """SIGTERM, then SIGKILL after the time-out; the exit code."""
        if self.running:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        return self.popen.returncode
