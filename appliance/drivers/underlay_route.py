"""By which device, and from which address, this host sends to somebody (RTM_GETROUTE). Blocking, quick.

Also tells when that may have changed, by the kernel's announcements of links, addresses, routes and rules.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
from dataclasses import dataclass

from appliance.drivers.netlink_channel import NETWORK_CHANGES, NetlinkChannel
from appliance.drivers.netlink_messages import attribute, attributes
from appliance.drivers.route_messages import GET_ROUTE
from appliance.types.addresses import Address
from appliance.types.errors import DecodeError

_RTMSG = struct.Struct("=8BI")
_DESTINATION, _OUT, _SOURCE, _MARK = 1, 4, 7, 16
_UNICAST = 1
_SIOCGIFMTU, _SIOCGIFHWADDR = 0x8921, 0x8927
_IFREQ = struct.Struct("16si20x")
_IFREQ_ADDRESS = struct.Struct("16sH22x")
_ETHERNET = 1
"""ARPHRD_ETHER."""
_TIMEOUT_S = 2.0
_BUFFER = 1 << 16


@dataclass(frozen=True, slots=True)
class WayOut:
    """`mtu` is the device's."""

    source: str
    index: int
    mtu: int


class UnderlayRoutes:
    """`mark` is that of the packets. Raises `OSError` when netlink cannot be had."""

    def __init__(self, mark: int) -> None:
        self._mark = mark
        self._kernel = NetlinkChannel(socket.NETLINK_ROUTE, limit_s=_TIMEOUT_S)
        self._news = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._news.setblocking(False)
        self._news.bind((0, NETWORK_CHANGES))

    def changed(self) -> bool:
        """Whether anything was announced since the last call."""
        found = False
        try:
            while self._news.recv(_BUFFER):
                found = True
        except BlockingIOError:
            return found
        except OSError:  # more was announced than the socket holds
            return True
        return found

    def way(self, to: Address) -> WayOut | None:
        """None where there is no route, or by a device that is not like Ethernet."""
        try:
            for payload in self._kernel.request(GET_ROUTE, route_query(to, self._mark)):
                return self._way(payload)
        except (OSError, DecodeError):
            return None
        return None

    def _way(self, payload: bytes) -> WayOut | None:
        route = parse_route(payload)
        if route is None:
            return None
        source, index = route
        name = socket.if_indextoname(index).encode()
        _, kind = _IFREQ_ADDRESS.unpack(fcntl.ioctl(self._kernel.socket, _SIOCGIFHWADDR, _IFREQ_ADDRESS.pack(name, 0)))
        _, mtu = _IFREQ.unpack(fcntl.ioctl(self._kernel.socket, _SIOCGIFMTU, _IFREQ.pack(name, 0)))
        return WayOut(source, index, mtu) if kind == _ETHERNET else None

    def close(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self._kernel.close)
            stack.enter_context(self._news)


def route_query(to: Address, mark: int) -> bytes:
    """Payload of RTM_GETROUTE (rtnetlink.h)."""
    family = socket.AF_INET if to.version == 4 else socket.AF_INET6
    body = _RTMSG.pack(family, to.max_prefixlen, 0, 0, 0, 0, 0, 0, 0) + attribute(_DESTINATION, to.packed)
    if mark:
        body += attribute(_MARK, struct.pack("=I", mark))
    return body


def parse_route(payload: bytes) -> tuple[str, int] | None:
    """Source address and device of an answer; None unless it leads to another host. Raises `DecodeError`."""
    if len(payload) < _RTMSG.size or payload[7] != _UNICAST:
        return None
    fields = dict(attributes(payload[_RTMSG.size :]))
    if _OUT not in fields or _SOURCE not in fields or len(fields[_OUT]) != 4:
        return None
    source = socket.inet_ntop(socket.AF_INET if payload[0] == socket.AF_INET else socket.AF_INET6, fields[_SOURCE])
    return source, int(struct.unpack("=I", fields[_OUT])[0])
