"""Has the router forgotten our mapping? Its epoch counter tells (RFC 6887 section 8.5; RFC 6886 section 3.6)."""

from __future__ import annotations

_SLACK_S = 2.0
_DRIFT = 1 / 16


class EpochWatch:
    """Remembers the last epoch and when it was heard."""

    def __init__(self) -> None:
        self._last: tuple[int, float] | None = None

    def heard(self, epoch_s: int, now: float) -> bool:
        """Whether the counter went on as time did; False: the router restarted or lost its state."""
        before, self._last = self._last, (epoch_s, now)
        if before is None:
            return True
        router_passed, we_passed = epoch_s - before[0], now - before[1]
        if router_passed < -1:
            return False
        # a datagram may have waited on its way, and cheap clocks run up to a sixteenth wrong
        slow = router_passed + _SLACK_S < we_passed - we_passed * _DRIFT
        fast = we_passed + _SLACK_S < router_passed - router_passed * _DRIFT
        return not slow and not fast

    def forget(self) -> None:
        self._last = None
