"""The control server's clock as this node knows it: what key expiry is judged by (control-protocol spec 10, 11).

A gateway may boot with a wrong date and may be corrected later. Three sources, best first: ControlTime of this run;
the wall clock; and the time at which the server last spoke to an earlier run, before which it cannot be now.
"""

from __future__ import annotations

from datetime import datetime, timedelta

TOLERANCE = timedelta(minutes=1)
"""A smaller difference is ignored (control-protocol spec section 10, ControlTime)."""


class ServerTime:
    def __init__(self) -> None:
        self._skew: timedelta | None = None
        self._not_before: datetime | None = None

    @property
    def skew(self) -> timedelta | None:
        """How far the server's clock is ahead of ours; None = it did not say in this run."""
        return self._skew

    @property
    def floor(self) -> datetime | None:
        """It is later than this, as an earlier run knew; None = nothing is known."""
        return self._not_before

    def note(self, server: datetime, wall_now: datetime) -> None:
        """The server told its time."""
        skew = server - wall_now
        self._skew = skew if abs(skew) > TOLERANCE else timedelta()

    def not_before(self, moment: datetime) -> None:
        """Something of an earlier run proves that it is later than `moment`."""
        self._not_before = moment if self._not_before is None else max(moment, self._not_before)

    def wall_jumped(self, forward: timedelta) -> None:
        """Our wall clock was set: what the server said stays right."""
        if self._skew is not None:
            self._skew -= forward

    def now(self, wall_now: datetime) -> datetime:
        if self._skew is not None:
            return wall_now + self._skew
        return wall_now if self._not_before is None else max(wall_now, self._not_before)
