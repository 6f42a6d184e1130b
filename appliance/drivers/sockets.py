"""Where sockets come from: this process's own network, or one that hands them out."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from appliance.drivers.privileges import may_mark_sockets

BYPASS_MARK = 0x80000
"""Packets of the daemon's own sockets never enter the tunnel (node-os spec 1.1)."""


_IP_TRANSPARENT = 19
_IPV6_TRANSPARENT = 75


class OpenSocket(Protocol):
    """Makes an unbound socket, closed on exec; `kind` may hold SOCK_NONBLOCK. Raises OSError."""

    def __call__(self, family: int, kind: int, protocol: int = 0, /) -> socket.socket: ...


def open_socket(family: int, kind: int, protocol: int = 0, /) -> socket.socket:
    """In the network namespace of the calling thread."""
    return socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)


def marking(mark: int, sockets: OpenSocket = open_socket) -> OpenSocket:
    """With SO_MARK set, 0 = without."""

    def prepare(made: socket.socket) -> None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)

    return _prepared(sockets, prepare) if mark else sockets


def transparent(sockets: OpenSocket) -> OpenSocket:
    """Sockets that take connections to any address which the firewall hands to them (tproxy). Raises OSError."""

    def prepare(made: socket.socket) -> None:
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
        else:
            made.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)

    return _prepared(sockets, prepare)


def _prepared(sockets: OpenSocket, prepare: Callable[[socket.socket], None]) -> OpenSocket:
    def opened(family: int, kind: int, protocol: int = 0, /) -> socket.socket:
        made = sockets(family, kind, protocol)
        try:
            prepare(made)
        except OSError:
            made.close()
            raise
        return made

    return opened


def bypassing_socket(family: int, kind: int, protocol: int = 0, /) -> socket.socket:
    """A socket of this host's network that never uses the tunnel, where the process may mark it. Raises OSError."""
    return marking(BYPASS_MARK if may_mark_sockets() else 0)(family, kind, protocol)
