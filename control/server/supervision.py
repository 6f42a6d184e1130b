"""What systemd is told: readiness, the end, and that the event loop still turns. Silent without systemd."""

from __future__ import annotations

import os

import sdnotify


class Supervision:
    """Close it at the end."""

    def __init__(self) -> None:
        # The library leaves a socket open when there is nobody to tell.
        self._notifier = sdnotify.SystemdNotifier() if os.environ.get("NOTIFY_SOCKET") else None

    def ready(self) -> None:
        self._tell("READY=1")

    def beat(self) -> None:
        """Feed the watchdog."""
        self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    def close(self) -> None:
        if self._notifier is not None and self._notifier.socket is not None:
            self._notifier.socket.close()

    def _tell(self, state: str) -> None:
        if self._notifier is not None:
            self._notifier.notify(state)
