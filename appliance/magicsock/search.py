"""When to look for a direct path again: soon at first, because early pings die at closed NATs, then every 5 s."""

from __future__ import annotations

from appliance.magicsock.timing import DISCOVERY_INTERVAL, EARLY_RETRIES, NEVER, SLACK


class Search:
    """`next_at` is when the next round is due, None while none is wanted."""

    __slots__ = ("_rounds", "_started_at", "next_at")

    def __init__(self) -> None:
        self.next_at: float | None = None
        self._started_at = NEVER
        self._rounds = 0

    @property
    def early(self) -> bool:
        """Whether this round still belongs to the quick ones."""
        return self._rounds < len(EARLY_RETRIES)

    def begin(self, now: float) -> None:
        """A new reason to look; the quick rounds start anew at most every 5 s, whoever gives reasons."""
        if now - self._started_at >= DISCOVERY_INTERVAL - SLACK:
            self._started_at = now
            self._rounds = 0

    def plan(self, now: float) -> None:
        """A round was done: when is the next?"""
        self.next_at = now + (EARLY_RETRIES[self._rounds] if self.early else DISCOVERY_INTERVAL)
        self._rounds += 1

    def start_over(self, now: float) -> None:
        """Trust has passed: a round is due now unless one is planned, and quick ones follow."""
        self._rounds = 0
        if self.next_at is None:
            self.next_at = now

    def stop(self) -> None:
        self.next_at = None
