"""A plain netlink socket with numbered requests: what is small and frequent, or comes in thousands.

The kernel carries a request out while it is being sent, so an answer is there when the send returns: nothing waits.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Sequence

from appliance.drivers.netlink_messages import ACK, DONE, DUMP, ERROR, HEADER, REQUEST, check, messages

PART_BYTES = 1 << 16
BATCH = 128
"""Requests in one datagram: if each of them is refused, the refusals still fit into the smallest receive buffer."""
_ANSWER_LIMIT_S = 10.0

Request = tuple[int, int, bytes]
"""Type, flags, payload."""


class NetlinkChannel:
    """Takes over a socket that is given."""

    def __init__(self, protocol: int, opened: socket.socket | None = None) -> None:
        self.socket = opened or socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self.socket.settimeout(_ANSWER_LIMIT_S)
        self.socket.bind((0, 0))
        self.number = 0

    def send(self, kind: int, flags: int, body: bytes) -> None:
        self.number += 1
        self.socket.send(_message(kind, flags, self.number, body))

    def request(self, kind: int, body: bytes, flags: int = 0) -> list[bytes]:
        """Send and wait for the acknowledgement; the messages before it. Raises OSError with the kernel's number."""
        self.send(kind, flags | ACK, body)
        return [payload for part in self._parts() for payload in part]

    def dump(self, kind: int, body: bytes) -> Iterator[list[bytes]]:
        """The messages of a reading, part by part. Raises OSError."""
        self.send(kind, DUMP, body)
        yield from self._parts()

    def batch(self, requests: Sequence[Request]) -> list[tuple[int, int]]:
        """Carry all of them out, at most `BATCH`; place and error number of each that the kernel refused.

        A refused one does not keep the kernel from those after it. Raises OSError when it does not answer.
        """
        first, last = self.number + 1, self.number + len(requests)
        self.number = last
        flags = [0] * (len(requests) - 1) + [ACK]
        self.socket.send(
            b"".join(
                _message(kind, own | flags[place], first + place, body)
                for place, (kind, own, body) in enumerate(requests)
            )
        )
        refused: list[tuple[int, int]] = []
        while True:
            for number, kind, payload in messages(self.socket.recv(PART_BYTES)):
                if kind != ERROR or not first <= number <= last:
                    continue
                if code := _refusal(payload):
                    refused.append((number - first, code))
                if number == last:
                    return refused

    def _parts(self) -> Iterator[list[bytes]]:
        """Up to the acknowledgement of the latest request."""
        while True:
            answers: list[bytes] = []
            for number, kind, payload in messages(self.socket.recv(PART_BYTES)):
                if number != self.number:
                    continue
                if kind in (ERROR, DONE):
                    check(payload)
                    yield answers
                    return
                answers.append(payload)
            yield answers

    def close(self) -> None:
        self.socket.close()


def _message(kind: int, flags: int, number: int, body: bytes) -> bytes:
    return HEADER.pack(HEADER.size + len(body), kind, flags | REQUEST, number, 0) + body + bytes(-len(body) % 4)


def _refusal(payload: bytes) -> int:
    try:
        check(payload)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def reason(code: int) -> str:
    """What the kernel's error number means to a person."""
    return "operation not permitted; CAP_NET_ADMIN is missing" if code == errno.EPERM else os.strerror(code)
