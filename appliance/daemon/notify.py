"""Talks to systemd: ready, status line, watchdog. Outside systemd all of it does nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Protocol

from sdnotify import SystemdNotifier


class ServiceManager(Protocol):
    def ready(self) -> None: ...

    def status(self, text: str) -> None: ...

    def stopping(self) -> None: ...

    def alive(self) -> None: ...


class SystemdManager:
    """The sd_notify protocol."""

    def __init__(self) -> None:
        self._notifier = SystemdNotifier() if os.environ.get("NOTIFY_SOCKET") else None
        self._status = ""

    def ready(self) -> None:
        self._say("READY=1")

    def status(self, text: str) -> None:
        line = " ".join(text.split())
        if line != self._status:
            self._status = line
            self._say(f"STATUS={line}")

    def stopping(self) -> None:
        self._say("STOPPING=1")

    def alive(self) -> None:
        self._say("WATCHDOG=1")

    def close(self) -> None:
        if self._notifier is not None and self._notifier.socket is not None:
            self._notifier.socket.close()

    def _say(self, line: str) -> None:
        if self._notifier is not None:
            self._notifier.notify(line)


def watchdog_interval_s(environment: Mapping[str, str] = os.environ) -> float | None:
    """Systemd's watchdog time, None when it watches nobody or another process."""
    try:
        limit_us = int(environment.get("WATCHDOG_USEC", ""))
        pid = int(environment.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return None
    return limit_us / 1e6 if limit_us > 0 and pid == os.getpid() else None
