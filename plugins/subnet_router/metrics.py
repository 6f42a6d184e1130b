"""Pure: the plugin's state as metrics."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.api import Metric, MetricKind
from plugins.subnet_router.limit_report import limit_metrics
from plugins.subnet_router.state import RouterState


def metrics(state: RouterState) -> tuple[Metric, ...]:
    advertised = len(state.offered)
    approved = advertised - len(state.waiting) if state.approved is not None else 0
    verdicts = state.judged.selection.verdicts
    accepted = sum(not reason for reason in verdicts.values())
    refused = len(verdicts) - accepted
    return (
        Metric("waypost_advertised_routes", advertised, "Prefixes that this gateway advertises."),
        Metric("waypost_approved_routes", approved, "Advertised prefixes that control has approved."),
        Metric("waypost_accepted_routes", accepted, "Peers' prefixes in use."),
        Metric("waypost_refused_routes", refused, "Peers' prefixes refused over a conflict."),
        Metric("waypost_lost_networks", len(state.lost), "Networks that are not offered because they are not reached."),
        Metric("waypost_primary_routes", len(state.primary), "Prefixes that go through this router now."),
        Metric(
            "waypost_network_withdrawals_total",
            state.withdrawals,
            "How often a network was not offered any more because it was not reached.",
            MetricKind.COUNTER,
        ),
        *_translation(state),
        *limit_metrics(state),
    )


def _translation(state: RouterState) -> Iterator[Metric]:
    seen = state.translation
    if seen is None:
        return
    name, text = "waypost_translated_packets_total", "Packets of 4via6 that were translated."
    yield Metric(name, seen.to_site, text, MetricKind.COUNTER, {"direction": "to_site"})
    yield Metric(name, seen.to_mesh, text, MetricKind.COUNTER, {"direction": "to_mesh"})
    for reason, count in seen.dropped.items():
        text = "Packets of 4via6 that were not translated."
        yield Metric("waypost_untranslated_packets_total", count, text, MetricKind.COUNTER, {"reason": reason})
    yield Metric("waypost_translation_senders", seen.senders, "Senders that have an address of the translation pool.")
