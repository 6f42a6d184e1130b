"""Pure: the plugin's state as metrics."""

from __future__ import annotations

from appliance.api import Metric, MetricKind
from plugins.status_page.state import PageState


def metrics(state: PageState) -> tuple[Metric, ...]:
    counter = MetricKind.COUNTER
    return (
        Metric("waypost_page_sessions", state.sessions, "Signed-in sessions of the status page."),
        Metric("waypost_page_watchers", state.watchers, "Open live streams of the status page."),
        Metric("waypost_page_wrong_codes_total", state.wrong_codes, "Wrong sign-in codes.", counter),
        Metric("waypost_page_refused_total", state.refused_requests, "Requests of foreign hosts and sites.", counter),
        Metric("waypost_page_malformed_total", state.malformed_requests, "Requests that were no HTTP.", counter),
        Metric("waypost_page_turned_away_total", state.turned_away, "Connections beyond the limit.", counter),
    )
