"""Opens sockets to serve at, for plugins and the peer API: bound, listening, non-blocking, closed on exec."""

from __future__ import annotations

import errno
import socket

from appliance.drivers.sockets import OpenSocket, open_socket
from appliance.types.addresses import Address
from appliance.types.errors import PrivilegeError, UnderlayError

BACKLOG = 128
_IP_FREEBIND = 15
_IPV6_FREEBIND = 78


class ListenTakenError(UnderlayError):
    """Another socket listens there."""

    code = "listen-taken"


def open_listener(
    address: Address, port: int, *, early: bool = False, sockets: OpenSocket = open_socket
) -> socket.socket:
    """Listen on `address`; an IPv6 listener takes no IPv4. `port` 0: any.

    `early`: the host need not have the address yet. `sockets` are of the network to listen in. Raises `UnderlayError`
    and `PrivilegeError`.
    """
    listener = _bound(address, port, socket.SOCK_STREAM, early, sockets)
    try:
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _in_words(error, address, port) from error
    return listener


def open_datagrams(
    address: Address, port: int, *, early: bool = False, sockets: OpenSocket = open_socket
) -> socket.socket:
    """A UDP socket that receives at `address`; otherwise like `open_listener`."""
    return _bound(address, port, socket.SOCK_DGRAM, early, sockets)


def _bound(address: Address, port: int, kind: int, early: bool, sockets: OpenSocket) -> socket.socket:
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    listener = sockets(family, kind | socket.SOCK_NONBLOCK)
    try:
        if kind == socket.SOCK_STREAM:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if early and family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        elif early:
            listener.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        listener.bind((str(address), port))
    except OSError as error:
        listener.close()
        raise _in_words(error, address, port) from error
    return listener


def _in_words(error: OSError, address: Address, port: int) -> UnderlayError | PrivilegeError:
    place = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
    if error.errno == errno.EADDRINUSE:
        return ListenTakenError(f"{place} is in use by another program", mend="choose another port, or end that one")
    if error.errno == errno.EADDRNOTAVAIL:
        return UnderlayError(f"{address} is no address of this host", mend="see: ip address", code="listen-address")
    if error.errno in (errno.EACCES, errno.EPERM):
        return PrivilegeError(f"listening on {place} is not permitted", mend="choose a port from 1024 on")
    return UnderlayError(f"cannot listen on {place}: {error.strerror}", code="listen")
