"""Quick probing of a path that may be dead: a ping each 250 ms, three misses condemn it (design 4)."""

from __future__ import annotations

from appliance.magicsock.timing import QUICK_GAP, QUICK_INTERVAL, QUICK_MISSES

_SLACK = 1e-6


class Doubt:
    """`next_at` is when the next probe or the verdict is due, None while there is no doubt."""

    __slots__ = ("_probes", "_raised_at", "next_at")

    def __init__(self) -> None:
        self.next_at: float | None = None
        self._probes = 0
        self._raised_at = float("-inf")

    @property
    def running(self) -> bool:
        return self.next_at is not None

    @property
    def shaken(self) -> bool:
        """A probe was missed already: any other path that answers is taken at once."""
        return self.running and self._probes >= 2

    def raise_(self, now: float) -> bool:
        """Whether probing starts now: not when it runs, nor within a second of its last start."""
        if self.running or now - self._raised_at < QUICK_GAP - _SLACK:
            return False
        self._raised_at = now
        self._probes = 0
        self.next_at = now
        return True

    def probe(self, now: float, latency_s: float) -> bool:
        """True: send a probe now. False: all were missed. The last one gets at least 1.5 round trips."""
        if self._probes >= QUICK_MISSES:
            return False
        self._probes += 1
        last = self._probes == QUICK_MISSES
        self.next_at = now + (max(QUICK_INTERVAL, 1.5 * latency_s) if last else QUICK_INTERVAL)
        return True

    def end(self) -> None:
        self.next_at = None
        self._probes = 0
