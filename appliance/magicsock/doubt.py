"""Quick probing of a path that may be dead: a ping each 250 ms, three misses condemn it (design 4).

After the first miss packets go by the relay too, so that little is lost while the verdict is open.
"""

from __future__ import annotations

from appliance.magicsock.timing import NEVER, QUICK_GAP, QUICK_INTERVAL, QUICK_MISSES, SLACK


class Doubt:
    """`next_at` is when the next probe or the verdict is due, None while there is no doubt."""

    __slots__ = ("_overdue_at", "_probes", "_raised_at", "next_at")

    def __init__(self) -> None:
        self.next_at: float | None = None
        self._probes = 0
        self._raised_at = NEVER
        self._overdue_at = float("inf")

    @property
    def running(self) -> bool:
        return self.next_at is not None

    def shaken(self, now: float) -> bool:
        """A probe was missed: the relay gets a copy, and any other path that answers is taken at once."""
        return self.running and now >= self._overdue_at - SLACK

    @property
    def last_probe(self) -> bool:
        """The probe that was just sent is the last one: other ways are worth a try meanwhile."""
        return self._probes == QUICK_MISSES

    def raise_(self, now: float) -> bool:
        """Whether probing starts now: not when it runs, nor within a second of its last start."""
        if self.running or now - self._raised_at < QUICK_GAP - SLACK:
            return False
        self._raised_at = now
        self._probes = 0
        self.next_at = now
        return True

    def probe(self, now: float, latency_s: float) -> bool:
        """True: send a probe now. False: all were missed. Every probe gets at least 1.5 round trips for its answer."""
        if self._probes >= QUICK_MISSES:
            return False
        self._probes += 1
        patience = max(QUICK_INTERVAL, 1.5 * latency_s)
        if self._probes == 1:
            self._overdue_at = now + patience
        self.next_at = now + (patience if self._probes == QUICK_MISSES else QUICK_INTERVAL)
        return True

    def end(self) -> None:
        self.next_at = None
        self._probes = 0
        self._overdue_at = float("inf")
