"""Tells in time that the node key runs out: a health item from a week before on, worse on the last day."""

from __future__ import annotations

from datetime import datetime, timedelta

from appliance.health.tracker import HealthTracker
from appliance.types.errors import Severity

HEALTH = "key-expiry"
SOON = timedelta(days=7)
URGENT = timedelta(days=1)
MEND = "log in again, nothing is cut: waypost login"


class ExpiryWatch:
    """Call `look` about once a second."""

    def __init__(self, health: HealthTracker) -> None:
        self._health = health
        self._shown = ""

    def look(self, key_expiry: datetime | None, server_now: datetime | None) -> None:
        """`key_expiry` None = never; `server_now` None = there is no netmap."""
        text, severity = _verdict(key_expiry, server_now)
        if text == self._shown:
            return
        self._shown = text
        if text:
            self._health.set(HEALTH, text, mend=MEND, severity=severity)
        else:
            self._health.clear(HEALTH)


def _verdict(key_expiry: datetime | None, server_now: datetime | None) -> tuple[str, Severity]:
    if key_expiry is None or server_now is None:
        return "", Severity.LOW
    left = key_expiry - server_now
    if left <= timedelta():
        return "the login of this node has expired: peers no longer answer it", Severity.HIGH
    if left > SOON:
        return "", Severity.LOW
    return f"the login of this node expires in {_span(left)}", Severity.HIGH if left <= URGENT else Severity.MEDIUM


def _span(left: timedelta) -> str:
    if left >= timedelta(days=2):
        return f"{left.days} days"
    hours = int(left.total_seconds() // 3600)
    if hours >= 2:
        return f"{hours} hours"
    minutes = int(left.total_seconds() // 60)
    return f"{minutes} minutes" if minutes >= 2 else "a minute"
