"""Pure: the plugin's state as metrics."""

from __future__ import annotations

from appliance.api import Metric, MetricKind
from plugins.mdns_reflector.state import ReflectorState

RESULTS = ("received", "sent", "not_chosen", "repeated", "malformed", "too_many", "stranger")


def metrics(state: ReflectorState) -> tuple[Metric, ...]:
    counters = state.reflector.counters
    return tuple(
        Metric(
            "waypost_mdns_reflector_datagrams_total",
            counters[f"{way}_{result}"],
            "Datagrams from LANs to sites (out) and from sites to LANs (in).",
            MetricKind.COUNTER,
            {"way": way, "result": result},
        )
        for way in ("out", "in")
        for result in RESULTS
    )
