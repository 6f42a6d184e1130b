"""Pure: the plugin's state as metrics."""

from __future__ import annotations

from appliance.api import Metric, MetricKind
from plugins.magicdns.state import DnsState

_COUNTER = MetricKind.COUNTER


def metrics(state: DnsState) -> tuple[Metric, ...]:
    found = [
        Metric("waypost_dns_queries_total", value, "Questions by what came of them.", _COUNTER, {"result": name})
        for name, value in sorted(state.counters.items())
        if name != "queries"
    ]
    found.append(Metric("waypost_dns_questions_total", state.counters.get("queries", 0), "Questions.", _COUNTER))
    found.append(Metric("waypost_dns_cached_entries", state.cached_entries, "Answers in the cache."))
    found.append(Metric("waypost_dns_names", state.names, "Names of the mesh."))
    for each in state.upstreams:
        labels = {"upstream": each.name, "route": each.route or "."}
        found += [
            Metric("waypost_dns_upstream_asked_total", each.asked, "Questions to a resolver.", _COUNTER, labels),
            Metric("waypost_dns_upstream_failed_total", each.failed, "Those that failed.", _COUNTER, labels),
            Metric("waypost_dns_upstream_seconds", each.latency_s, "Smoothed time to its answer.", labels=labels),
        ]
    return tuple(found)
