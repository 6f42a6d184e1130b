"""Pure: the plugin's state as metrics."""

from __future__ import annotations

from appliance.api import Metric, MetricKind
from plugins.exit_node.rules import Measure, is_lost
from plugins.exit_node.state import ExitState


def metrics(state: ExitState) -> tuple[Metric, ...]:
    chosen = state.chosen
    latency_s = state.measures.get(chosen.stable_id, Measure()).latency_s if chosen is not None else 0.0
    offered = state.offers and not state.waiting and state.approved is not None
    udp = state.forwarder
    return (
        Metric("waypost_exits", len(state.exits), "Peers that offer an exit."),
        Metric("waypost_exit_wanted", int(bool(state.config.use)), "1 while all traffic must leave by an exit."),
        Metric("waypost_exit_up", int(not is_lost(chosen)), "1 while the exit in use can be used."),
        Metric("waypost_exit_latency_seconds", latency_s, "Latency to the exit in use, 0: unknown or none."),
        Metric("waypost_exit_offered", int(offered), "1 while this gateway is an approved exit."),
        Metric("waypost_exit_uplink_up", int(state.uplink_up), "0 while the own uplink of this exit is away."),
        Metric("waypost_exit_udp_associations", udp.associations, "Users' sockets whose UDP a proxy carries."),
        Metric("waypost_exit_udp_lost_total", udp.lost, "Users' datagrams that could not go on.", MetricKind.COUNTER),
        Metric("waypost_exit_moves_total", state.moves, "Automatic changes of the exit.", MetricKind.COUNTER),
    )
