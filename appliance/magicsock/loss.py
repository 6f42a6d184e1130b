"""Loss of a candidate's pings, and the survey that compares the others when the path in use loses packets.

Own: the spec compares latencies alone, so a lossy path would be kept for being a millisecond faster.
"""

from __future__ import annotations

from collections import deque

from appliance.magicsock.timing import NEVER, SLACK

WINDOW = 32
MIN_SAMPLES = 8
SUSPICIOUS = 2
"""Lost pings among the remembered ones that are no chance any more."""
LOSS_COST_S = 0.4
"""Latency that would hurt like losing everything: 1 % of loss weighs 4 ms."""
SURVEY_INTERVAL = 60.0
SURVEY_STEP = 0.5
SURVEY_ROUNDS = 16


class LossRecord:
    """The fate of the last pings to an address that had answered shortly before."""

    __slots__ = ("_fates",)

    def __init__(self) -> None:
        self._fates: deque[bool] = deque(maxlen=WINDOW)

    def note(self, answered: bool) -> None:
        self._fates.append(answered)

    def clear(self) -> None:
        self._fates.clear()

    @property
    def share(self) -> float | None:
        """Lost share, one lost ping forgiven; None while too few were sent."""
        if len(self._fates) < MIN_SAMPLES:
            return None
        return max(0, self._fates.count(False) - 1) / len(self._fates)

    @property
    def suspicious(self) -> bool:
        return self._fates.count(False) >= SUSPICIOUS


class Survey:
    """Pings to all that answer, twice a second for 8 s, at most once a minute. `next_at` None: none runs."""

    __slots__ = ("_rounds", "_started_at", "next_at")

    def __init__(self) -> None:
        self.next_at: float | None = None
        self._rounds = 0
        self._started_at = NEVER

    def begin(self, now: float) -> None:
        if self.next_at is None and now - self._started_at >= SURVEY_INTERVAL - SLACK:
            self._started_at = self.next_at = now
            self._rounds = 0

    def due(self, now: float) -> bool:
        """Whether a round is to be sent now; plans the next one."""
        if self.next_at is None or now < self.next_at:
            return False
        self._rounds += 1
        self.next_at = now + SURVEY_STEP if self._rounds < SURVEY_ROUNDS else None
        return True

    @property
    def first(self) -> bool:
        """Whether the round that `due` just allowed opened the survey: then everybody is asked."""
        return self._rounds == 1

    def stop(self) -> None:
        self.next_at = None
