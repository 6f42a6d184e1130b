"""Which datagram answers which. Sans-IO: bytes, source and time in, what is to be sent out (derp spec 8.2)."""

from __future__ import annotations

import contextlib
from collections import Counter

from appliance.proto.stun import (
    TRAIN_REQUEST_SIZE,
    TrainRequest,
    encode_response,
    parse_foreign_request,
    parse_request,
    parse_train_request,
)
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError
from appliance.types.token_bucket import TokenBucket
from control.stun.trains import Tickets

FOREIGN_RATE = 50.0
"""Answers a second to all clients together that are no nodes."""
FOREIGN_BURST = 100.0

Answer = tuple[bytes, int]
"""A datagram and how often it is sent."""


class Answers:
    """Nodes are answered as fast as they ask; other clients of RFC 5389, such as test tools, a few a second in all.

    Those may be shorter than the answer, and come from a forged address.

    `ignored` counts all else, by reason. `secret`: 32 random bytes of this process.
    """

    def __init__(self, secret: bytes) -> None:
        self._tickets = Tickets(secret)
        self._foreign = TokenBucket(FOREIGN_RATE, FOREIGN_BURST)
        self.ignored: Counter[str] = Counter()

    def answer(self, data: bytes, source: AddrPort, now: float) -> Answer | None:
        """None: it gets none."""
        request = _train_request(data)
        if request is not None:
            return self._to_train_request(request, source, now)
        tx_id = self._asked(data, now)
        return (encode_response(tx_id, source), 1) if tx_id is not None else None

    def _to_train_request(self, request: TrainRequest, source: AddrPort, now: float) -> Answer | None:
        if not request.packets:
            return self._tickets.ticket(request, source, now), 1
        packet = self._tickets.train(request, source, now)
        if packet is None:
            self.ignored["train_refused"] += 1
            return None
        return packet, request.packets

    def _asked(self, data: bytes, now: float) -> bytes | None:
        """Transaction id of an ordinary request."""
        try:
            return parse_request(data)
        except DecodeError as error:
            reason: str = error.reason
        with contextlib.suppress(DecodeError):
            tx_id = parse_foreign_request(data)
            if self._foreign.take(now):
                return tx_id
            reason = "foreign_rate"
        self.ignored[reason] += 1
        return None


def _train_request(data: bytes) -> TrainRequest | None:
    if len(data) != TRAIN_REQUEST_SIZE:
        return None
    try:
        return parse_train_request(data)
    except DecodeError:
        return None
