"""`RefusedPort` on nflog: what nftables logs to a group (linux/netfilter/nfnetlink_log.h).

| message | netlink head, family u8, version u8, group u16 big-endian, attributes |
| configuration, type 0x401 | 1 command u8 (1 bind); 2 mode: bytes to copy u32, mode u8 (2 packet), u8 0; |
|  | 5 packets per message u32 |
| packet, type 0x400 | 9 payload: the packet from its IP header on |

Integers are big-endian.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator, Sequence

from appliance.drivers.loop_reader import LoopReader
from appliance.drivers.netlink_messages import ACK, ERROR, REQUEST, attribute, attributes, check, message, messages
from appliance.drivers.socket_options import NETLINK_NETFILTER
from appliance.drivers.sockets import OpenSocket, open_socket
from appliance.types.errors import DecodeError

_PACKET, _CONFIG = 0x400, 0x401
_COMMAND, _MODE, _THRESHOLD, _PAYLOAD = 1, 2, 5, 9
_BIND, _COPY_PACKET = 1, 2
_HEAD = struct.Struct(">BBH")
_COPIED = 96
_PART_BYTES = 1 << 16
_ANSWER_S = 5.0


class LinuxRefusedPort:
    """In the network that `sockets` are of. Raises OSError where the kernel has no nflog, or the group is taken."""

    def __init__(self, group: int, sockets: OpenSocket = open_socket) -> None:
        self._socket = sockets(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self._reader = LoopReader(self._socket)
        try:
            self._socket.settimeout(_ANSWER_S)
            self._socket.send(configuration(group))
            self._await_answer()
            self._socket.setblocking(False)
        except BaseException:
            self._socket.close()
            raise

    def _await_answer(self) -> None:
        while True:
            for _number, kind, payload in messages(self._socket.recv(_PART_BYTES)):
                if kind == ERROR:
                    check(payload)
                    return

    def set_reader(self, callback: Callable[[], None] | None) -> None:
        self._reader.set(callback)

    def receive(self, limit: int = 64) -> Sequence[bytes]:
        found: list[bytes] = []
        while len(found) < limit:
            try:
                data = self._socket.recv(_PART_BYTES)
            except OSError:  # nothing more, or some were lost, which does no harm
                break
            found += payloads(data)
        return found

    def close(self) -> None:
        self.set_reader(None)
        self._socket.close()


def configuration(group: int) -> bytes:
    """The message that takes the group: single packets at once, cut off."""
    body = _HEAD.pack(0, 0, group) + attribute(_COMMAND, bytes((_BIND,)))
    body += attribute(_MODE, struct.pack(">IBx", _COPIED, _COPY_PACKET)) + attribute(_THRESHOLD, struct.pack(">I", 1))
    return message(_CONFIG, REQUEST | ACK, 1, body)


def payloads(data: bytes) -> Iterator[bytes]:
    """The packets in a datagram of the kernel; what is not as expected is left out."""
    for _number, kind, body in messages(data):
        if kind == _PACKET:
            try:
                yield from (bytes(value) for what, value in attributes(body[_HEAD.size :]) if what == _PAYLOAD)
            except DecodeError:
                continue
