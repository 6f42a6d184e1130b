"""The server's counters for Prometheus (text format 0.0.4); names after the reference's (derp spec 3.11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control.derp.endpoints import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from appliance.proto.http1.head import RequestHead

PATH = "/metrics"


def metrics_text(metrics: Mapping[str, int]) -> str:
    """A sample per entry; what begins with `current_` is a gauge, everything else counts."""
    families: dict[str, list[str]] = {}
    for name, value in metrics.items():
        base, brace, labels = name.partition("{")
        families.setdefault(f"waypost_derp_{base}", []).append(f"{brace}{labels} {value}")
    lines: list[str] = []
    for family, samples in sorted(families.items()):
        kind = "gauge" if family.startswith("waypost_derp_current_") else "counter"
        lines += [f"# TYPE {family} {kind}", *(f"{family}{sample}" for sample in sorted(samples))]
    return "".join(f"{line}\n" for line in lines)


def metrics_page(read: Callable[[], Mapping[str, int]]) -> Callable[[RequestHead], Reply]:
    def page(head: RequestHead) -> Reply:
        if head.method not in ("GET", "HEAD"):
            return Reply(405, (("Allow", "GET, HEAD"),), b"bogus method\n")
        return Reply(200, (("Content-Type", "text/plain; version=0.0.4"),), metrics_text(read()).encode())

    return page
