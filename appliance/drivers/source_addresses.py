"""From which of its own addresses this host sends somewhere: asked of its routes, remembered for a while."""

from __future__ import annotations

import socket
import time

from appliance.drivers.sockets import OpenSocket, open_socket

_REMEMBERED_S = 5.0
_MAX_REMEMBERED = 4096
_ANY_PORT = 9


class SourceAddresses:
    """`sockets` are of the network it is asked of, marked as the packets that it is asked for."""

    def __init__(self, sockets: OpenSocket = open_socket) -> None:
        self._sockets = sockets
        self._found: dict[str, tuple[str, float]] = {}

    def toward(self, far: str) -> str:
        """Raises OSError where no route leads."""
        now = time.monotonic()
        source, until = self._found.get(far, ("", 0.0))
        if now >= until:
            source = self._ask(far)
            if len(self._found) >= _MAX_REMEMBERED:
                self._found.clear()
            self._found[far] = source, now + _REMEMBERED_S
        return source

    def _ask(self, far: str) -> str:
        """By a socket that sends nothing."""
        family = socket.AF_INET6 if ":" in far else socket.AF_INET
        with self._sockets(family, socket.SOCK_DGRAM) as asking:
            asking.connect((far, _ANY_PORT))
            return str(asking.getsockname()[0])
