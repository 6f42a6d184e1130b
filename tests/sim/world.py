"""Virtual time and chance: a queue of things to happen. The same seed gives the same run."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from appliance.ports.clock import VirtualClock
from appliance.ports.randomness import SeededRandomness


@dataclass
class Timeline:
    """What happened, for the reader of a failed seed."""

    entries: list[tuple[float, str, str]] = field(default_factory=list)

    def note(self, at: float, who: str, what: str) -> None:
        self.entries.append((at, who, what))

    def text(self) -> str:
        return "\n".join(f"{at:9.3f}  {who:<8} {what}" for at, who, what in self.entries)


class World:
    """Starts at 1000 s so that a machine that takes 0 for 'never' is found out."""

    START = 1000.0

    def __init__(self, seed: int | str) -> None:
        self.seed = seed
        self.clock = VirtualClock(self.START)
        self.randomness = SeededRandomness(f"world {seed}")
        self.timeline = Timeline()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    @property
    def now(self) -> float:
        return self.clock.now()

    @property
    def elapsed(self) -> float:
        return self.clock.now() - self.START

    def note(self, who: str, what: str) -> None:
        self.timeline.note(self.elapsed, who, what)

    def at(self, when: float, what: Callable[[], None]) -> None:
        """At monotonic time `when`, not before now."""
        self._count += 1
        heapq.heappush(self._queue, (max(when, self.now), self._count, what))

    def after(self, delay: float, what: Callable[[], None]) -> None:
        self.at(self.now + delay, what)

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            when, _, what = heapq.heappop(self._queue)
            self.clock.advance(max(0.0, when - self.now))
            what()
        self.clock.advance(max(0.0, end - self.now))

    def run_until(self, true: Callable[[], bool], limit: float, step: float = 0.01) -> bool:
        """Run until the condition holds; whether it did within `limit` seconds."""
        end = self.now + limit
        while not true():
            if self.now >= end:
                return False
            self.run(min(step, end - self.now))
        return True
