"""Trains of large answers, by which gateways measure what comes down their lines (appliance/proto/stun/train.py).

Who gets one has shown that the address is its own, by a ticket that is good for a few seconds and one train; all
together get so many bytes a second, and what is beyond is refused.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.crypto.hashes import equal, mac16
from appliance.proto.stun import PACKET_BYTES, TrainRequest, encode_ticket, encode_train_packet
from appliance.types.addresses import AddrPort
from appliance.types.token_bucket import TokenBucket

PERIOD_S = 10
"""A ticket is good for one to two of them."""
BYTES_PER_S = 250_000.0
BURST_BYTES = 2_000_000.0
PACKETS_AT_ONCE = 32

Ancillary = Sequence[tuple[int, int, bytes]]
"""As sendmsg takes it: from which address of ours to send."""


class Tickets:
    """Sans-IO: who may have a train. `secret`: 32 random bytes of this process."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._budget = TokenBucket(BYTES_PER_S, BURST_BYTES)
        self._period = 0
        self._used: set[bytes] = set()
        """Tickets that had their train in this period, and in the one before; the budget bounds them."""
        self._used_before: set[bytes] = set()

    def ticket(self, request: TrainRequest, source: AddrPort, now: float) -> bytes:
        """The answer to who asks for one."""
        return encode_ticket(request.tx_id, source, self._mac(request, source, int(now // PERIOD_S)))

    def train(self, request: TrainRequest, source: AddrPort, now: float) -> bytes | None:
        """The packet that is to be sent so many times, None when the ticket is not good or the budget used up."""
        period = int(now // PERIOD_S)
        self._forget(period)
        if request.ticket in self._used or request.ticket in self._used_before:
            return None
        good = any(equal(request.ticket, self._mac(request, source, at)) for at in (period, period - 1))
        if not good or not self._budget.take(now, request.packets * PACKET_BYTES):
            return None
        self._used.add(request.ticket)
        return encode_train_packet(request.tx_id, source)

    def _forget(self, period: int) -> None:
        """Tickets that are too old anyway."""
        if period != self._period:
            self._used_before = self._used if period == self._period + 1 else set()
            self._used = set()
            self._period = period

    def _mac(self, request: TrainRequest, source: AddrPort, period: int) -> bytes:
        at = source.address.packed + source.port.to_bytes(2, "big")
        return mac16(self._secret, period.to_bytes(8, "big"), request.tx_id, at)


@dataclass(slots=True)
class _Train:
    packet: bytes
    left: int
    ancillary: Ancillary
    to: tuple[str, int]


class TrainSender:
    """Sends trains from a socket as fast as it takes them, without holding up its other answers."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._waiting: deque[_Train] = deque()

    def send(self, packet: bytes, count: int, ancillary: Ancillary, to: tuple[str, int]) -> None:
        if not self._waiting:
            asyncio.get_running_loop().add_writer(self._socket, self._writable)
        self._waiting.append(_Train(packet, count, ancillary, to))

    def close(self) -> None:
        self._waiting.clear()
        asyncio.get_running_loop().remove_writer(self._socket)

    def _writable(self) -> None:
        train = self._waiting[0]
        for _ in range(min(train.left, PACKETS_AT_ONCE)):
            try:
                self._socket.sendmsg([train.packet], train.ancillary, 0, train.to)
            except BlockingIOError:
                return
            except OSError:
                train.left = 0  # nobody is there any more
                break
            train.left -= 1
        if not train.left:
            self._waiting.popleft()
        if not self._waiting:
            asyncio.get_running_loop().remove_writer(self._socket)
