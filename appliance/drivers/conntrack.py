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

from appliance.drivers.sockets import OpenSocket, open_socket
from appliance.ports.conntrack import ConntrackError, Flow

_NETLINK_NETFILTER = 12
_GET, _DELETE = 0x101, 0x102
_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_TUPLE_ORIG, _MARK, _MARK_MASK = 1, 8, 21
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_HEADER = struct.Struct("=IHHII")
_FAMILY = struct.Struct(">BBH")
_ATTRIBUTE = struct.Struct("=HH")
_NESTED = 0x8000
_TYPE_MASK = 0x3FFF
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_VERSIONS = {int(family): version for version, family in _FAMILIES.items()}
_BUFFER_BYTES = 1 << 20
_BATCH = 400
_TIMEOUT_S = 10
_ICMP = (1, 58)
_PORTED = (6, 17, 33, 47, 132, 136)
"""Protocols that the kernel tells apart by ports (GRE: by its key)."""
_MEND = "load the kernel module nf_conntrack_netlink and run with CAP_NET_ADMIN"


class LinuxConntrack:
    """In the network that `sockets` are of, by default the calling thread's; the work is done in another thread."""

    def __init__(self, sockets: OpenSocket = open_socket) -> None:
        self._sockets = sockets

    async def find(self, mark: int, mask: int, wanted: Callable[[Flow], bool]) -> list[Flow]:
        with _open(self._sockets) as sock:
            return await asyncio.to_thread(_find, sock, mark, mask, wanted)

    async def remove(self, flows: list[Flow]) -> None:
        if flows:
            with _open(self._sockets) as sock:
                await asyncio.to_thread(_remove, sock, flows)


def _open(sockets: OpenSocket) -> socket.socket:
    try:
        sock = sockets(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
    except OSError as error:
        raise _failure(error) from error
    sock.settimeout(_TIMEOUT_S)
    return sock


def _failure(error: OSError) -> ConntrackError:
    return ConntrackError(f"cannot reach the kernel's flow table: {error.strerror or error}", mend=_MEND)


def _find(sock: socket.socket, mark: int, mask: int, wanted: Callable[[Flow], bool]) -> list[Flow]:
    """A dump filtered by the kernel, of both IP versions in one go over its table. A flow may be listed twice while
    the table changes."""
    filters = _attribute(_MARK, struct.pack(">I", mark)) + _attribute(_MARK_MASK, struct.pack(">I", mask))
    found: dict[Flow, None] = {}
    try:
        sock.send(_message(_GET, _REQUEST | _DUMP, socket.AF_UNSPEC, filters, 1))
        for family, message in _dump(sock):
            flow = parse_flow(_VERSIONS[family], message) if family in _VERSIONS else None
            if flow is not None and wanted(flow):
                found[flow] = None
    except OSError as error:
        raise _failure(error) from error
    return list(found)


def _remove(sock: socket.socket, flows: list[Flow]) -> None:
    """Only refusals are answered; the last message of a batch asks for an answer, so that all were seen."""
    try:
        for start in range(0, len(flows), _BATCH):
            batch = flows[start : start + _BATCH]
            last = len(batch) - 1
            sock.send(
                b"".join(
                    _message(
                        _DELETE,
                        _REQUEST | (_ACK if number == last else 0),
                        _FAMILIES[flow.version],
                        _attribute(_TUPLE_ORIG | _NESTED, encode_tuple(flow)),
                        number,
                    )
                    for number, flow in enumerate(batch)
                )
            )
            _await_answer(sock, last)
    except OSError as error:
        raise _failure(error) from error


def _await_answer(sock: socket.socket, last: int) -> None:
    while True:
        for kind, number, body in _messages(sock.recv(_BUFFER_BYTES)):
            if kind == _ERROR:
                _check(body)
                if number == last:
                    return


def _dump(sock: socket.socket) -> Iterator[tuple[int, memoryview]]:
    """Family and attributes of each message of one dump. Raises `OSError`."""
    while True:
        for kind, _number, body in _messages(sock.recv(_BUFFER_BYTES)):
            if kind == _DONE:
                return
            if kind == _ERROR:
                _check(body)
            else:
                yield body[0], body[4:]


def _messages(data: bytes) -> Iterator[tuple[int, int, memoryview]]:
    view, at = memoryview(data), 0
    while at + 16 <= len(view):
        length, kind, _flags, number, _port = _HEADER.unpack_from(view, at)
        if length < 16:
            return
        yield kind, number, view[at + 16 : at + length]
        at += (length + 3) & ~3


def _check(body: memoryview) -> None:
    """The kernel's answer. A flow that is gone was to go."""
    code = -int.from_bytes(body[:4], "little" if struct.pack("=H", 1)[0] else "big", signed=True)
    if code and code != errno.ENOENT:
        raise OSError(code, os.strerror(code))


def _message(kind: int, flags: int, family: int, attributes: bytes, number: int) -> bytes:
    length = 20 + len(attributes)
    return _HEADER.pack(length, kind, flags, number, 0) + _FAMILY.pack(family, 0, 0) + attributes


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def encode_tuple(flow: Flow) -> bytes:
    """The value of a tuple attribute that names this flow."""
    size, source, destination = (4, 1, 2) if flow.version == 4 else (16, 3, 4)
    ip = _attribute(source, flow.source.to_bytes(size, "big"))
    ip += _attribute(destination, flow.destination.to_bytes(size, "big"))
    upper = _attribute(1, bytes([flow.protocol]))
    if flow.icmp_type >= 0:
        number, kind, code = (4, 5, 6) if flow.version == 4 else (7, 8, 9)
        upper += _attribute(number, flow.source_port.to_bytes(2, "big"))
        upper += _attribute(kind, bytes([flow.icmp_type]))
        upper += _attribute(code, bytes([flow.icmp_code]))
    elif flow.protocol in _PORTED:
        upper += _attribute(2, flow.source_port.to_bytes(2, "big"))
        upper += _attribute(3, flow.destination_port.to_bytes(2, "big"))
    return _attribute(_TUPLE_IP | _NESTED, ip) + _attribute(_TUPLE_PROTO | _NESTED, upper)


# What the kernel sends for TCP, UDP, SCTP and DCCP, by IP version: where the values are, and the length of all.
_PORTS = {4: struct.Struct(">12xI4xI8xB7xH6xH"), 6: struct.Struct(">12x16s4x16s8xB7xH6xH")}
_PORTS_LENGTH = {4: 52, 6: 76}


def parse_flow(version: int, message: memoryview) -> Flow | None:
    """The original direction out of the attributes of a listed flow; None when it is not as expected."""
    length = _PORTS_LENGTH[version]
    if len(message) >= length and _ATTRIBUTE.unpack_from(message) == (length, _TUPLE_ORIG | _NESTED):
        source, destination, protocol, sport, dport = _PORTS[version].unpack_from(message)
        if version == 6:
            source, destination = int.from_bytes(source, "big"), int.from_bytes(destination, "big")
        return Flow(version, protocol, source, destination, sport, dport)
    for kind, value in _attributes(message):
        if kind == _TUPLE_ORIG:
            return _parse_tuple(version, value)
    return None


def _parse_tuple(version: int, data: memoryview) -> Flow | None:
    parts = dict(_attributes(data))
    ip = dict(_attributes(parts.get(_TUPLE_IP, data[:0])))
    upper = dict(_attributes(parts.get(_TUPLE_PROTO, data[:0])))
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


def _attributes(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    at = 0
    while at + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < 4:
            return
        yield kind & _TYPE_MASK, data[at + 4 : at + length]
        at += (length + 3) & ~3
