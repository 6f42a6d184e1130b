"""Watches the machine's clocks: sleep, jumps of the wall clock, and a date that cannot be right.

WireGuard's timestamps do not depend on it (they only rise) and peers expire by the control server's time; but TLS
certificates are judged by the wall clock, so a wrong date may be what keeps control and relays away.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

from appliance.health.tracker import HealthTracker
from appliance.ports.clock import Clock
from appliance.types.errors import Severity

log = structlog.get_logger("clock")

HEALTH = "clock-wrong"
SLEPT_S = 10.0
"""A look that comes so much late: the machine slept, and the network may be another one."""
JUMP = timedelta(seconds=2)
WRONG = timedelta(minutes=5)
"""Certificates and logs of others begin to disagree from about here."""
FAR_WRONG = timedelta(days=1)
RELEASED = datetime(2026, 1, 1, tzinfo=UTC)
"""No earlier date can be right."""
MEND = "set the date, or let the machine fetch it: timedatectl set-ntp true"


class ClockWatch:
    """Call `look` about once a second. `on_sleep(seconds)` after a sleep, `on_jump(forward)` when somebody set the
    clock."""

    def __init__(
        self,
        clock: Clock,
        health: HealthTracker,
        *,
        on_sleep: Callable[[float], None],
        on_jump: Callable[[timedelta], None],
    ) -> None:
        self._clock = clock
        self._health = health
        self._on_sleep = on_sleep
        self._on_jump = on_jump
        self._seen = (clock.now(), clock.wall_now())

    def look(self, skew: timedelta | None, not_before: datetime | None = None) -> None:
        """`skew`: how far the control server's clock is ahead, None = unknown. `not_before`: known to be past."""
        before, wall_before = self._seen
        self._seen = now, wall_now = self._clock.now(), self._clock.wall_now()
        passed = now - before
        jumped = wall_now - wall_before - timedelta(seconds=passed)
        if abs(jumped) > JUMP:
            log.warning("the clock was set", forward_s=round(jumped.total_seconds(), 1))
            self._on_jump(jumped)
            skew = None if skew is None else skew - jumped
        if passed > SLEPT_S:
            log.info("the machine slept", seconds=round(passed, 1))
            self._on_sleep(passed)
        self._judge(wall_now, skew, not_before)

    def _judge(self, wall_now: datetime, skew: timedelta | None, not_before: datetime | None) -> None:
        if skew is None:
            known = max(RELEASED, not_before or RELEASED)
            off, source = max(known - wall_now, timedelta()), "it was later than that before"
        else:
            off, source = skew, "by the control server's clock"
        if abs(off) <= WRONG:
            self._health.clear(HEALTH)
            return
        shown = wall_now.strftime("%Y-%m-%d %H:%M UTC")
        direction = "behind" if off > timedelta() else "ahead"
        text = f"this machine's clock is wrong: it says {shown}, at least {span(abs(off))} {direction} ({source})"
        text += "; certificates of the control server and of relays may be refused"
        severity = Severity.HIGH if abs(off) > FAR_WRONG else Severity.MEDIUM
        self._health.set(HEALTH, text, mend=MEND, severity=severity)


def span(time: timedelta) -> str:
    """The largest unit that fits, rounded down."""
    seconds = int(time.total_seconds())
    for unit, size in (("year", 365 * 86400), ("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds} seconds"
