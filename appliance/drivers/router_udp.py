"""UDP sockets toward the home router: one that asks, one that hears its announcements (RFC 6886 section 3.2.1)."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress

from appliance.drivers.sockets import marking
from appliance.drivers.udp import LinuxUdpPort
from appliance.proto.portmap.natpmp import ANNOUNCE_PORT
from appliance.types.errors import UnderlayError

_ALL_HOSTS = "224.0.0.1"


def open_router_ports(mark: int = 0) -> Sequence[LinuxUdpPort]:
    """The asking socket first; that for announcements is left out where its port is taken. `mark` is SO_MARK, 0 none.

    Raises `UnderlayError`.
    """
    try:
        asking = _bound("0.0.0.0", 0, mark)  # noqa: S104  # which interface leads to the router may change
    except OSError as error:
        raise UnderlayError(f"cannot open a UDP socket toward the router: {error.strerror}") from error
    ports = [LinuxUdpPort(asking, offload=False)]
    with suppress(OSError):
        ports.append(LinuxUdpPort(_bound(_ALL_HOSTS, ANNOUNCE_PORT, 0), offload=False))
    return ports


def _bound(host: str, port: int, mark: int) -> socket.socket:
    sock = marking(mark)(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
