"""A plain netlink socket with numbered requests: what is small and frequent, or comes in thousands.

The kernel carries a request out while it is being sent, so an answer is there when the send returns: nothing waits.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Sequence

from appliance.drivers.netlink_messages import ACK, DONE, DUMP, ERROR, REQUEST, check, message, messages

PART_BYTES = 1 << 16
BATCH = 128
"""Requests in one datagram: if each of them is refused, the refusals still fit into the smallest receive buffer."""
_ANSWER_LIMIT_S = 10.0
NETWORK_CHANGES = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 1 << 18
"""RTMGRP of links, IPv4 addresses, routes and rules, IPv6 addresses and routes; and of IPv6 rules (group 19)."""

Request = tuple[int, int, bytes]
"""Type, flags, payload."""


class NetlinkChannel:
    """Takes over a socket that is given. `limit_s`: how long to wait for an answer."""

    def __init__(self, protocol: int, opened: socket.socket | None = None, *, limit_s: float = _ANSWER_LIMIT_S) -> None:
        self.socket = opened or socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self.socket.settimeout(limit_s)
        self.socket.bind((0, 0))
        self.number = 0

    def send(self, kind: int, flags: int, body: bytes) -> None:
        self.number += 1
        self.socket.send(message(kind, flags | REQUEST, self.number, body))

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
        return [(place, code) for place, code in self._exchange(requests, len(requests) - 1) if code]

    def transaction(self, requests: Sequence[Request]) -> None:
        """Carry all of them out or none, of a subsystem whose first and last message are the bounds of a transaction.

        The last bound has no answer of its own, so the message before it is asked for one; what is refused is answered
        before that. Raises OSError with the kernel's number.
        """
        for _place, code in self._exchange(requests, len(requests) - 2):
            if code:
                raise OSError(code, os.strerror(code))

    def _exchange(self, requests: Sequence[Request], asked: int) -> Iterator[tuple[int, int]]:
        """Send them as one datagram. Place and error number, 0 = none, of each answer up to the asked one's."""
        first = self.number + 1
        self.number += len(requests)
        self.socket.send(
            b"".join(
                message(kind, REQUEST | own | (ACK if place == asked else 0), first + place, body)
                for place, (kind, own, body) in enumerate(requests)
            )
        )
        while True:
            for number, kind, payload in messages(self.socket.recv(PART_BYTES)):
                place = number - first
                if kind == ERROR and 0 <= place < len(requests):
                    yield place, _refusal(payload)
                    if place == asked:
                        return

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


def _refusal(payload: bytes) -> int:
    try:
        check(payload)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def reason(code: int) -> str:
    """What the kernel's error number means to a person."""
    return "operation not permitted; CAP_NET_ADMIN is missing" if code == errno.EPERM else os.strerror(code)
