"""The one place that knows what is wrong now.

Services call `set` and `clear` with stable codes (node-os spec section 6 names those of the field). An item may stay
hidden for a while, so that a short hiccup at start shows nothing: it counts from when it is due.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from appliance.ports.clock import Clock
from appliance.ports.events import EventBus
from appliance.types.errors import ApplianceError, Severity
from appliance.types.events import HealthChanged


@dataclass(frozen=True, slots=True)
class HealthItem:
    """One broken thing. `since` is UTC; the code of what a plugin says begins with its name."""

    code: str
    severity: Severity
    text: str
    mend: str
    since: datetime


_ORDER = {Severity.HIGH: 0, Severity.MEDIUM: 1, Severity.LOW: 2}


class HealthTracker:
    """Keeps the items and publishes `HealthChanged` when one becomes visible, changes its words or is mended."""

    def __init__(self, bus: EventBus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._visible: dict[str, HealthItem] = {}
        self._waiting: dict[str, tuple[float, HealthItem]] = {}

    def set(
        self,
        code: str,
        text: str,
        *,
        mend: str = "",
        severity: Severity = Severity.MEDIUM,
        after_s: float = 0.0,
    ) -> None:
        """Say that `code` is broken; it shows after `after_s` seconds unless cleared before."""
        known = self._visible.get(code)
        if known is not None:
            self._show(HealthItem(code, severity, text, mend, known.since))
            return
        waiting = self._waiting.get(code)
        since = waiting[1].since if waiting else self._clock.wall_now()
        due = waiting[0] if waiting else self._clock.now() + after_s
        item = HealthItem(code, severity, text, mend, since)
        if due <= self._clock.now():
            self._show(item)
        else:
            self._waiting[code] = (due, item)

    def observe(self, event: HealthChanged) -> None:
        """Take over what a service published by itself; subscribe this to the bus."""
        known = self._visible.get(event.code)
        if not event.broken:
            self._visible.pop(event.code, None)
        elif known is None or (known.text, known.mend) != (event.text, event.mend):
            since = known.since if known is not None else self._clock.wall_now()
            severity = known.severity if known is not None else event.severity
            self._visible[event.code] = HealthItem(event.code, severity, event.text, event.mend, since)

    def set_error(self, error: ApplianceError, *, code: str | None = None) -> None:
        """Show an error as an item."""
        self.set(code or error.code, error.text, mend=error.mend, severity=error.severity)

    def clear(self, code: str) -> None:
        """Say that `code` is mended; unknown codes are fine."""
        self._waiting.pop(code, None)
        if self._visible.pop(code, None) is not None:
            self._bus.publish(HealthChanged(code, broken=False))

    def poll(self) -> None:
        """Show items whose time has come; called about once a second."""
        now = self._clock.now()
        for code, (due, item) in list(self._waiting.items()):
            if due <= now:
                del self._waiting[code]
                self._show(item)

    def items(self) -> list[HealthItem]:
        """Visible items, most severe first, then by code."""
        return sorted(self._visible.values(), key=lambda item: (_ORDER[item.severity], item.code))

    def _show(self, item: HealthItem) -> None:
        self._waiting.pop(item.code, None)
        if self._visible.get(item.code) == item:
            return
        self._visible[item.code] = item
        self._bus.publish(HealthChanged(item.code, broken=True, text=item.text, mend=item.mend))
