"""Pure: the plugin's state as metrics."""

from __future__ import annotations

from appliance.api import Metric, MetricKind
from plugins.wake_on_lan.state import WakeState


def metrics(state: WakeState) -> tuple[Metric, ...]:
    counts = {"sent": state.woken, "failed": state.failed}
    return tuple(
        Metric("waypost_wake_on_lan_total", count, "Wishes to wake a host.", MetricKind.COUNTER, {"result": result})
        for result, count in counts.items()
    )
