"""Pure: the plugin's state as metrics, per app."""

from __future__ import annotations

from appliance.api import Metric, MetricKind
from plugins.app_connector.state import ConnectorState


def metrics(state: ConnectorState) -> tuple[Metric, ...]:
    found = [
        Metric("waypost_app_routes", len(state.routes), "Routes of apps that this gateway offers."),
        Metric("waypost_app_routes_waiting", len(state.waiting), "Those that control has not approved."),
    ]
    for app in {app.name: app for app in state.apps}.values():
        labels = {"app": app.name}
        seen, learned = state.seen.get(app.name, 0), state.learned.get(app.name, 0)
        found += [
            Metric("waypost_app_addresses", learned, "Addresses learned.", labels=labels),
            Metric("waypost_app_answers_total", seen, "Answers with an address.", MetricKind.COUNTER, labels),
        ]
    return tuple(found)
