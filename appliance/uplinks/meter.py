"""How well one uplink works: STUN requests through it, their latency and loss. Sans-IO (RFC 5389 section 7)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from statistics import median

from appliance.ports.randomness import Randomness
from appliance.proto.stun import TX_ID_SIZE, encode_request, parse_response
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError

WINDOW = 20
"""Last probes that count."""
ANSWER_LIMIT_S = 1.0
QUICK_S = 1.0
SLOW_S = 10.0
DOWN_AFTER = 3
"""Probes in a row without an answer; they go to different servers where there are several."""
LOSSY = 0.2
ENOUGH = 10
"""Probes before a share of loss means anything."""


class Condition(IntEnum):
    """Better ones are smaller."""

    GOOD = 0
    LOSSY = 1
    DOWN = 2


@dataclass(frozen=True, slots=True)
class Quality:
    """`latency_s` is the median of the window, None before the first answer; `loss` a share.

    `answered_at`: when the last answer came. `silent_since`: the first of the lost probes since then was sent.
    `up_rate`, `down_rate`: bytes a second that it carries each way, measured elsewhere, None = not known.
    """

    condition: Condition = Condition.GOOD
    latency_s: float | None = None
    loss: float = 0.0
    probes: int = 0
    answered_in_a_row: int = 0
    answered_at: float | None = None
    silent_since: float | None = None
    up_rate: float | None = None
    down_rate: float | None = None


class UplinkMeter:
    """`handle_timer` gives the request to send; at most one is on its way."""

    def __init__(self, randomness: Randomness, now: float) -> None:
        self._randomness = randomness
        self._targets: tuple[AddrPort, ...] = ()
        self._turn = 0
        self._results: deque[float | None] = deque(maxlen=WINDOW)
        self._waiting: tuple[bytes, float] | None = None
        self._next_at = now
        self._sent_at = float("-inf")
        self._interval_s = QUICK_S
        self._in_a_row = 0
        self._lost_in_a_row = 0
        self._answered_at: float | None = None
        self._silent_since: float | None = None

    def set_targets(self, targets: Sequence[AddrPort]) -> None:
        """STUN servers, asked in turn; none: nothing is measured."""
        self._targets = tuple(targets)

    def set_quick(self, quick: bool) -> None:
        """Whether the uplink is in use, in doubt, or may soon be used."""
        interval = QUICK_S if quick else SLOW_S
        if interval != self._interval_s:
            self._interval_s = interval
            self._next_at = self._sent_at + interval

    def quality(self) -> Quality:
        answered = [latency for latency in self._results if latency is not None]
        loss = 1 - len(answered) / len(self._results) if self._results else 0.0
        condition = Condition.GOOD
        if self._lost_in_a_row >= DOWN_AFTER:
            condition = Condition.DOWN
        elif len(self._results) >= ENOUGH and loss >= LOSSY:
            condition = Condition.LOSSY
        return Quality(
            condition,
            median(answered) if answered else None,
            loss,
            len(self._results),
            self._in_a_row,
            self._answered_at,
            self._silent_since,
        )

    def next_timer(self) -> float | None:
        if self._waiting is not None:
            return self._waiting[1] + ANSWER_LIMIT_S
        return self._next_at if self._targets else None

    def handle_timer(self, now: float) -> tuple[AddrPort, bytes] | None:
        """The request that is due."""
        if self._waiting is not None and now >= self._waiting[1] + ANSWER_LIMIT_S:
            self._done(None)
        if self._waiting is not None or not self._targets or now < self._next_at:
            return None
        tx_id = self._randomness.bytes(TX_ID_SIZE)
        self._waiting = (tx_id, now)
        self._sent_at, self._next_at = now, now + self._interval_s
        self._turn += 1
        return self._targets[self._turn % len(self._targets)], encode_request(tx_id)

    def receive(self, data: bytes, now: float) -> bool:
        """Whether it was the answer awaited."""
        try:
            response = parse_response(data)
        except DecodeError:
            return False
        if self._waiting is None or response.tx_id != self._waiting[0]:
            return False
        self._answered_at, self._silent_since = now, None
        self._done(max(0.0, now - self._waiting[1]))
        return True

    def failed(self) -> None:
        """The request could not even be sent."""
        if self._waiting is not None:
            self._done(None)

    def _done(self, latency_s: float | None) -> None:
        if latency_s is None and self._silent_since is None:
            self._silent_since = self._sent_at
        self._waiting = None
        self._results.append(latency_s)
        self._in_a_row = 0 if latency_s is None else self._in_a_row + 1
        self._lost_in_a_row = self._lost_in_a_row + 1 if latency_s is None else 0
