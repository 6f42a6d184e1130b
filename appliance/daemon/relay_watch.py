"""Tells when the home relay cannot be reached for a while, and what mends it."""

from __future__ import annotations

from appliance.daemon.clock_watch import MEND as DATE_MEND
from appliance.health.tracker import HealthTracker
from appliance.ports.clock import Clock

HEALTH = "relay-unreachable"
PATIENCE_S = 15.0
_DATE_WORDS = ("not yet valid", "has expired", "outside its dates")


class RelayWatch:
    """Call `look` about once a second."""

    def __init__(self, clock: Clock, health: HealthTracker) -> None:
        self._clock = clock
        self._health = health
        self._away_since: float | None = None

    def look(self, name: str, *, connected: bool, error: str) -> None:
        """`name` of the home relay's region, "" = there is none. `error`: why the last attempt failed."""
        if not name or connected:
            self._away_since = None
            self._health.clear(HEALTH)
            return
        now = self._clock.now()
        if self._away_since is None:
            self._away_since = now
        if now - self._away_since < PATIENCE_S:
            return
        text = f"the relay {name} cannot be reached: {error or 'no answer'}; peers without a direct path are cut off"
        self._health.set(HEALTH, text, mend=relay_mend(error))


def relay_mend(error: str) -> str:
    """What to do about a failed attempt."""
    if any(words in error for words in _DATE_WORDS):
        return f"its certificate does not fit this machine's date: {DATE_MEND}"
    if "CERTIFICATE_VERIFY_FAILED" in error:
        return "give the CA's file with control.ca_file, or mend the relay's certificate"
    return "see whether the relay runs and TCP to it is allowed: waypost netcheck"
