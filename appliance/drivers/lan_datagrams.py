"""Datagrams on one attached network: broadcast, and multicast groups. Past the tunnel and past an exit's guard."""

from __future__ import annotations

import errno
import socket
import struct
from ipaddress import ip_address

from appliance.drivers.sockets import OpenSocket, bypassing_socket
from appliance.types.errors import PrivilegeError, UnderlayError

BROADCAST = "255.255.255.255"
ALL_NODES = "ff02::1"
_LOCAL_TTL = 255
"""Link-local multicast leaves with it, so that a receiver sees that no router was on the way (RFC 6762 section 11)."""


def send_broadcast(
    interface: str, source: str, port: int, data: bytes, *, sockets: OpenSocket = bypassing_socket
) -> None:
    """One datagram to every host of the network of `interface`; `source` is the host's own address there.

    With an IPv6 source to the group of all nodes. Raises OSError.
    """
    version = ip_address(source).version
    with sockets(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as sender:
        _bind_to(sender, interface)
        sender.bind((source, 0))
        if version == 6:
            sender.sendto(data, (ALL_NODES, port, 0, socket.if_nametoindex(interface)))
        else:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sender.sendto(data, (BROADCAST, port))


def open_group(interface: str, group: str, port: int, *, sockets: OpenSocket = bypassing_socket) -> socket.socket:
    """A socket that hears and speaks on a multicast group of one network; non-blocking.

    It shares its port with other programs, hears that group on that interface only, and what it sends comes back to
    programs of this host too. Raises `UnderlayError` and `PrivilegeError`.
    """
    family = socket.AF_INET6 if ip_address(group).version == 6 else socket.AF_INET
    try:
        opened = sockets(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise _in_words(error, interface, group) from error
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind_to(opened, interface)
        index = socket.if_nametoindex(interface)
        _join(opened, family, group, index)
        opened.bind((group, port, 0, index) if family == socket.AF_INET6 else (group, port))
    except OSError as error:
        opened.close()
        raise _in_words(error, interface, group) from error
    return opened


def _join(opened: socket.socket, family: int, group: str, index: int) -> None:
    raw = ip_address(group).packed
    if family == socket.AF_INET6:
        level = socket.IPPROTO_IPV6
        opened.setsockopt(level, socket.IPV6_V6ONLY, 1)
        opened.setsockopt(level, socket.IPV6_MULTICAST_HOPS, _LOCAL_TTL)
        opened.setsockopt(level, socket.IPV6_MULTICAST_IF, index)
        opened.setsockopt(level, socket.IPV6_JOIN_GROUP, raw + struct.pack("@I", index))
        return
    request = raw + bytes(4) + struct.pack("@i", index)  # struct ip_mreqn
    opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, _LOCAL_TTL)
    opened.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, bytes(8) + struct.pack("@i", index))
    opened.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)


def _bind_to(opened: socket.socket, interface: str) -> None:
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")


def _in_words(error: OSError, interface: str, group: str) -> UnderlayError | PrivilegeError:
    place = f"group {group} on {interface}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return PrivilegeError(f"joining {place} is not permitted", mend="run waypostd by its unit, or as root")
    mend = "is the interface up, and has it an address of that IP version? see: ip address"
    return UnderlayError(f"cannot join {place}: {error.strerror}", mend=mend, code="lan-group")
