"""Pure: the plugin's state as metrics."""

from __future__ import annotations

from appliance.api import Metric, MetricKind
from plugins.subnet_router.state import RouterState


def metrics(state: RouterState) -> tuple[Metric, ...]:
    advertised = len(state.offered)
    approved = advertised - len(state.waiting) if state.approved is not None else 0
    return (
        Metric("waypost_advertised_routes", advertised, "Prefixes that this gateway advertises."),
        Metric("waypost_approved_routes", approved, "Advertised prefixes that control has approved."),
        Metric("waypost_accepted_routes", len(state.selection.accepted), "Peers' prefixes in use."),
        Metric("waypost_refused_routes", len(state.selection.refused), "Peers' prefixes refused over a conflict."),
        Metric("waypost_lost_networks", len(state.lost), "Networks that are not offered because they are not reached."),
        Metric("waypost_primary_routes", len(state.primary), "Prefixes that go through this router now."),
        Metric(
            "waypost_network_withdrawals_total",
            state.withdrawals,
            "How often a network was not offered any more because it was not reached.",
            MetricKind.COUNTER,
        ),
    )
