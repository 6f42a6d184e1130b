"""Pure: the relay as metrics (magicsock-disco spec 5.4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from appliance.api import Metric, MetricKind

if TYPE_CHECKING:
    from plugins.peer_relay.relay import Relay


def metrics(relay: Relay) -> tuple[Metric, ...]:
    return tuple(_samples(relay))


def _samples(relay: Relay) -> Iterator[Metric]:
    opened = relay.open_sessions
    states = {"open": opened, "connecting": len(relay.server) - opened}
    for state, value in states.items():
        yield Metric("waypost_peer_relay_endpoints", value, "Sessions of the peer relay.", labels={"state": state})
    forwarder = relay.forwarder
    kernel = relay.kernel
    packets, sizes = forwarder.packets + kernel.packets, forwarder.bytes + kernel.bytes
    for (way_in, way_out), value in sorted(packets.items()):
        labels = {"transport_in": way_in, "transport_out": way_out}
        yield _counter("forwarded_packets", value, "Packets that the peer relay forwarded.", labels)
        yield _counter("forwarded_bytes", sizes[way_in, way_out], "Bytes that it forwarded.", labels)
    yield _counter("kernel_packets", kernel.packets.total(), "Those of them that the kernel forwarded.", {})
    yield _counter("kernel_bytes", kernel.bytes.total(), "Bytes of them.", {})
    text = "Sessions of the peer relay that the kernel forwards for."
    yield Metric("waypost_peer_relay_kernel_sessions", kernel.serving, text)
    for name, value in sorted({**relay.server.counters, **forwarder.counters}.items()):
        yield _counter("events", value, "What happened at the peer relay, and what it dropped.", {"event": name})


def _counter(name: str, value: float, text: str, labels: dict[str, str]) -> Metric:
    return Metric(f"waypost_peer_relay_{name}_total", value, text, MetricKind.COUNTER, labels)
