"""Waiting between attempts (control-protocol spec section 18): min(n² · 10 ms, 30 s) times 0.5 to 1.5."""

from __future__ import annotations

from appliance.ports.randomness import Randomness

STEP_S = 0.010
LIMIT_S = 30.0


class Backoff:
    """One counter; each kind of request has its own."""

    def __init__(self, randomness: Randomness) -> None:
        self._randomness = randomness
        self.failures = 0

    def next_s(self) -> float:
        """Seconds to wait after one more failure."""
        self.failures += 1
        return min(self.failures**2 * STEP_S, LIMIT_S) * self._randomness.uniform(0.5, 1.5)

    def reset(self) -> None:
        self.failures = 0
