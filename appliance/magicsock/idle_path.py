"""Keeping an idle direct path, with as few packets as the NATs on it allow (magicsock-disco spec 3.10).

When a session goes idle nothing holds its mappings open. One of the two nodes, the one with the lower disco key, then
pings the path after growing silences: whether it still answers after 10, 30 and 60 s is learned, once a day. From then
on one ping just before the longest silence that it survived keeps it, and it is found dead when nothing answers. Both
are bounded: a path that nobody uses is let go after `PINGS` of them.
"""

from __future__ import annotations

from enum import Enum

from appliance.magicsock.timing import NEVER
from appliance.types.addresses import AddrPort

CLIFFS = (10.0, 30.0, 60.0)
"""Seconds of silence after which NATs usually forget a mapping."""
SLACK = 2.0
"""The path is asked so long before a cliff."""
TOLERANCE = 0.25
"""A timer that is later than this (the host slept) has measured something else."""
CYCLE_INTERVAL = 24 * 3600.0
PINGS = 30
"""In one idle time."""
PATIENCE = (1.0, 1.0, 2.0)
"""A ping and two repetitions wait so long for an answer: one may be lost."""


class Idle(Enum):
    """What `step` wants: nothing yet, a ping of the path, or the path is dead."""

    WAIT = "wait"
    PING = "ping"
    DEAD = "dead"


class IdlePath:
    """`next_at` is when `step` wants to be asked, None = never: the session is active, or the path is let go."""

    __slots__ = ("_address", "_asked", "_learned_at", "_left", "_survived", "next_at")

    def __init__(self) -> None:
        self.next_at: float | None = None
        self._address: AddrPort | None = None
        self.forget()

    def forget(self) -> None:
        """Another path: nothing that was learned holds."""
        self._survived = 0
        self._learned_at = NEVER
        self.stop()

    def stop(self) -> None:
        """The session is active again."""
        self.next_at = None
        self._asked = 0
        self._left = PINGS

    @property
    def survives_s(self) -> float | None:
        """The longest silence that the path is known to survive, 0 = not even the shortest, None = not learned."""
        if self._survived:
            return CLIFFS[self._survived - 1]
        return None if self._learning else 0.0

    @property
    def _learning(self) -> bool:
        return self._learned_at == NEVER

    def begin(self, address: AddrPort, silent_since: float, now: float) -> None:
        """The session is idle; the last packet went along the path at `silent_since`. May be said again."""
        if address != self._address:
            self._address = address
            self.forget()
        if self.next_at is not None or self._left < PINGS:
            return
        if not self._learning and now - self._learned_at >= CYCLE_INTERVAL:
            self.forget()
        self._plan(silent_since, now)

    def heard(self, now: float) -> None:
        """Something else went along the path: its silence begins anew."""
        if self.next_at is not None and not self._asked:
            self._plan(now, now)

    def _plan(self, silent_since: float, now: float) -> None:
        cliff = self._survived if self._learning else self._survived - 1
        self.next_at = None
        if cliff >= 0 and self._left:
            due = silent_since + CLIFFS[cliff] - SLACK
            if not self._learning or due >= now - TOLERANCE:
                self.next_at = max(now, due)

    def step(self, now: float) -> Idle:
        """What is to be done now."""
        if self.next_at is None or now < self.next_at:
            return Idle.WAIT
        if self._learning and not self._asked and now - self.next_at > TOLERANCE:
            self.next_at = None
            return Idle.WAIT
        if self._asked == len(PATIENCE):
            return self._missed(now)
        self.next_at = now + PATIENCE[self._asked]
        self._left -= not self._asked
        self._asked += 1
        return Idle.PING

    def _missed(self, now: float) -> Idle:
        """A silence that was not survived ends the learning; where one was survived before, something has changed."""
        if self._learning:
            self._learned_at = now
        else:
            self._survived, self._learned_at = 0, NEVER
        self.next_at = None
        return Idle.DEAD

    def answered(self, now: float) -> None:
        """The path lives."""
        if not self._asked:
            return
        self._asked = 0
        if self._learning:
            self._survived += 1
            if self._survived == len(CLIFFS):
                self._learned_at = now
        self._plan(now, now)
