"""`ConntrackPort` on ctnetlink, by plain structs: a table of 100,000 flows is read in well under a second.

Layout (linux/netfilter/nfnetlink_conntrack.h; netlink headers in host order, values in network order):

| message | nlmsghdr 16, nfgenmsg 4 (family, version, resource id), attributes |
| attribute | length 2 (with these 4), type 2 (0x8000 nested), value, padding to 4 |
| CTA_TUPLE_ORIG 1 | CTA_TUPLE_IP 1 (v4: 1 source, 2 destination; v6: 3, 4), CTA_TUPLE_PROTO 2 (1 number, |
|  | 2 source port, 3 destination port; ICMP: 4 id, 5 type, 6 code, ICMPv6: 7, 8, 9) |
| CTA_MARK 8, CTA_ID 12, CTA_MARK_MASK 21 | 4 bytes each |
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from appliance.drivers.netlink_channel import BATCH, NetlinkChannel
from appliance.drivers.netlink_messages import attribute, attributes, nested
from appliance.drivers.socket_options import NETLINK_NETFILTER
from appliance.drivers.sockets import OpenSocket, open_socket
from appliance.ports.conntrack import ConntrackError, Flow
from appliance.types.errors import DecodeError

_GET, _DELETE = 0x101, 0x102
_TUPLE_ORIG, _MARK, _MARK_MASK = 1, 8, 21
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_HEAD = struct.Struct(">BBH")
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_VERSIONS = {int(family): version for version, family in _FAMILIES.items()}
_ICMP = (1, 58)
_PORTED = (6, 17, 33, 47, 132, 136)
"""Protocols that the kernel tells apart by ports (GRE: by its key)."""
_MEND = "load the kernel module nf_conntrack_netlink and run with CAP_NET_ADMIN"


class LinuxConntrack:
    """In the network that `sockets` are of, by default the calling thread's; the work is done in another thread."""

    def __init__(self, sockets: OpenSocket = open_socket) -> None:
        self._sockets = sockets

    async def find(self, mark: int, mask: int, wanted: Callable[[Flow], bool]) -> list[Flow]:
        with _opened(self._sockets) as channel:
            return await asyncio.to_thread(_find, channel, mark, mask, wanted)

    async def remove(self, flows: list[Flow]) -> None:
        if flows:
            with _opened(self._sockets) as channel:
                await asyncio.to_thread(_remove, channel, flows)


@contextmanager
def _opened(sockets: OpenSocket) -> Iterator[NetlinkChannel]:
    """Raises `ConntrackError`, for what is asked over it as well."""
    try:
        opened = sockets(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        with closing(NetlinkChannel(NETLINK_NETFILTER, opened)) as channel:
            yield channel
    except OSError as error:
        raise ConntrackError(f"cannot reach the kernel's flow table: {error.strerror or error}", mend=_MEND) from error


def _find(channel: NetlinkChannel, mark: int, mask: int, wanted: Callable[[Flow], bool]) -> list[Flow]:
    """A dump filtered by the kernel, of both IP versions in one go over its table. A flow may be listed twice while
    the table changes."""
    filters = attribute(_MARK, struct.pack(">I", mark)) + attribute(_MARK_MASK, struct.pack(">I", mask))
    found: dict[Flow, None] = {}
    for part in channel.dump(_GET, _HEAD.pack(socket.AF_UNSPEC, 0, 0) + filters):
        for message in part:
            version = _VERSIONS.get(message[0])
            flow = parse_flow(version, memoryview(message)[_HEAD.size :]) if version is not None else None
            if flow is not None and wanted(flow):
                found[flow] = None
    return list(found)


def _remove(channel: NetlinkChannel, flows: list[Flow]) -> None:
    """A flow that is gone was to go."""
    for start in range(0, len(flows), BATCH):
        refused = channel.batch([(_DELETE, 0, _named(flow)) for flow in flows[start : start + BATCH]])
        for _place, code in refused:
            if code != errno.ENOENT:
                raise OSError(code, os.strerror(code))


def _named(flow: Flow) -> bytes:
    return _HEAD.pack(_FAMILIES[flow.version], 0, 0) + nested(_TUPLE_ORIG, encode_tuple(flow))


def encode_tuple(flow: Flow) -> bytes:
    """The value of a tuple attribute that names this flow."""
    size, source, destination = (4, 1, 2) if flow.version == 4 else (16, 3, 4)
    ip = attribute(source, flow.source.to_bytes(size, "big"))
    ip += attribute(destination, flow.destination.to_bytes(size, "big"))
    upper = attribute(1, bytes([flow.protocol]))
    if flow.icmp_type >= 0:
        number, kind, code = (4, 5, 6) if flow.version == 4 else (7, 8, 9)
        upper += attribute(number, flow.source_port.to_bytes(2, "big"))
        upper += attribute(kind, bytes([flow.icmp_type]))
        upper += attribute(code, bytes([flow.icmp_code]))
    elif flow.protocol in _PORTED:
        upper += attribute(2, flow.source_port.to_bytes(2, "big"))
        upper += attribute(3, flow.destination_port.to_bytes(2, "big"))
    return nested(_TUPLE_IP, ip) + nested(_TUPLE_PROTO, upper)


# What the kernel sends for TCP, UDP, SCTP and DCCP, by IP version: where the values are, and the length of all.
_PORTS = {4: struct.Struct(">12xI4xI8xB7xH6xH"), 6: struct.Struct(">12x16s4x16s8xB7xH6xH")}
_PORTS_LENGTH = {4: 52, 6: 76}
_PORTS_HEAD = {version: nested(_TUPLE_ORIG, bytes(length - 4))[:4] for version, length in _PORTS_LENGTH.items()}


def parse_flow(version: int, message: memoryview) -> Flow | None:
    """The original direction out of the attributes of a listed flow; None when it is not as expected."""
    length = _PORTS_LENGTH[version]
    if len(message) >= length and message[:4] == _PORTS_HEAD[version]:
        source, destination, protocol, sport, dport = _PORTS[version].unpack_from(message)
        if version == 6:
            source, destination = int.from_bytes(source, "big"), int.from_bytes(destination, "big")
        return Flow(version, protocol, source, destination, sport, dport)
    try:
        for kind, value in attributes(message):
            if kind == _TUPLE_ORIG:
                return _parse_tuple(version, value)
    except DecodeError:
        return None
    return None


def _parse_tuple(version: int, data: memoryview) -> Flow | None:
    parts = dict(attributes(data))
    ip = dict(attributes(parts.get(_TUPLE_IP, data[:0])))
    upper = dict(attributes(parts.get(_TUPLE_PROTO, data[:0])))
    source, destination = (ip.get(kind) for kind in ((1, 2) if version == 4 else (3, 4)))
    protocol = _number(upper.get(1))
    if source is None or destination is None:
        return None
    icmp = protocol in _ICMP
    return Flow(
        version,
        protocol,
        _number(source),
        _number(destination),
        _number(upper.get((4 if version == 4 else 7) if icmp else 2)),
        0 if icmp else _number(upper.get(3)),
        _number(upper.get(5 if version == 4 else 8)) if icmp else -1,
        _number(upper.get(6 if version == 4 else 9)) if icmp else 0,
    )


def _number(value: memoryview | None) -> int:
    return int.from_bytes(value, "big") if value is not None else 0
