"""Calls of the event loop for sockets that have something to read."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable


class LoopReader:
    """Calls back while any of the sockets (or descriptors) has something to read, in the loop that asked."""

    def __init__(self, *socks: socket.socket | int) -> None:
        self._socks = socks
        self._loop: asyncio.AbstractEventLoop | None = None

    def set(self, callback: Callable[[], None] | None) -> None:
        """Call this one from now on; None: no more."""
        if self._loop is not None:
            for sock in self._socks:
                self._loop.remove_reader(sock)
            self._loop = None
        if callback is not None:
            self._loop = asyncio.get_running_loop()
            for sock in self._socks:
                self._loop.add_reader(sock, callback)
