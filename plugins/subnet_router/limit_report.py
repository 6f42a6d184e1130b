"""Pure: what the limits hold now and what each let pass and dropped, as values and as text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from appliance.api import Metric, MetricKind, QueueTraffic
from plugins.subnet_router.shaping import Limit, rate_text
from plugins.subnet_router.state import RouterState

NONE_SET = "no limits are set; such as: waypost plugins config subnet_router 'limits=[\"gateway-b 20mbit\"]'"


def limit_text(state: RouterState, *, as_json: bool) -> str:
    """What `waypost limits` prints."""
    limits = state.config.parsed_limits
    if as_json:
        return json.dumps({"limits": [_plain(state, each) for each in limits]})
    width = max((len(each.target) for each in limits), default=0)
    return "\n".join(f"{each.target:<{width}}  {limit_words(state, each)}" for each in limits) or NONE_SET


def _plain(state: RouterState, limit: Limit) -> dict[str, object]:
    """`traffic` null: nothing is held to this rate now."""
    traffic = state.traffic.get(limit.target)
    counted = asdict(traffic) if traffic is not None else None
    return {"target": limit.target, "rate_kbit": limit.rate_kbit, "known": _is_known(state, limit), "traffic": counted}


def limit_words(state: RouterState, limit: Limit) -> str:
    """The rate, and what it did."""
    words = [f"to {rate_text(limit.rate_kbit)}/s"]
    traffic = state.traffic.get(limit.target)
    if not _is_known(state, limit):
        words.append("no peer has that name now")
    elif traffic is None:
        words.append("not held now")
    else:
        words += _traffic_words(traffic)
    return ", ".join(words)


def _traffic_words(traffic: QueueTraffic) -> Iterator[str]:
    yield f"{_size(traffic.sent_bytes)} in {traffic.sent_packets} packets passed"
    yield f"{traffic.dropped_packets} dropped"
    yield f"{traffic.overlimits} times over the rate"
    if traffic.backlog_packets:
        yield f"{_size(traffic.backlog_bytes)} in {traffic.backlog_packets} packets wait"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count} bytes"


def _is_known(state: RouterState, limit: Limit) -> bool:
    return not limit.is_peer or limit.target in state.limited


def limit_metrics(state: RouterState) -> Iterator[Metric]:
    """As many samples of each as there are limits in the settings, at most."""
    for limit in state.config.parsed_limits:
        traffic, labels = state.traffic.get(limit.target), {"limit": limit.target}
        if traffic is None:
            continue
        counted = {
            "sent_bytes": (traffic.sent_bytes, "Bytes that a limit let pass."),
            "sent_packets": (traffic.sent_packets, "Packets that a limit let pass."),
            "dropped_packets": (traffic.dropped_packets, "Packets that a limit dropped."),
            "overlimits": (traffic.overlimits, "How often a packet had to wait for the rate of a limit."),
        }
        for name, (value, text) in counted.items():
            yield Metric(f"waypost_limit_{name}_total", value, text, MetricKind.COUNTER, labels)
        yield Metric("waypost_limit_backlog_bytes", traffic.backlog_bytes, "Bytes that wait at a limit.", labels=labels)
