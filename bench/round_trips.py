"""Round trips of small packets, and what a tunnel adds to those of the bare cable under it."""

from __future__ import annotations

import re
from statistics import quantiles

from bench.report import line, middle
from tests.lab.mesh import command
from tests.lab.namespaces import LabError, Namespace

COUNT = 500
INTERVAL_S = 0.004
_TIME = re.compile(r"time=([\d.]+) ms")


def round_trips(host: Namespace, to: str) -> list[float]:
    """Microseconds of each ping, in order."""
    words = ("ping", "-n", "-c", str(COUNT), "-i", str(INTERVAL_S), "-W", "5", to)
    result = command(host, *words, timeout_s=COUNT * INTERVAL_S + 30)
    found = [float(text) * 1e3 for text in _TIME.findall(result.stdout)]
    if len(found) < COUNT // 2:
        raise LabError(f"ping {to}: {len(found)} of {COUNT} came back: {result.stderr[-300:]}")
    return found


def p99(values: list[float]) -> float:
    return quantiles(values, n=100)[98]


def added(bench: str, variant: str, peer: str, found: dict[str, list[float]]) -> str:
    """One line; `found` has the round trips of `variant`, of `peer` and of the `cable`, from the same turns."""
    base = middle(found["cable"])
    ours, other = (middle(found[name]) - base for name in (variant, peer))
    return line(
        bench,
        ours,
        "us added to the median round trip",
        variant=variant,
        peer=peer,
        peer_value=other,
        p99_added=round(p99(found[variant]) - p99(found["cable"]), 1),
        peer_p99_added=round(p99(found[peer]) - p99(found["cable"]), 1),
        cable=round(base, 1),
        cable_p99=round(p99(found["cable"]), 1),
        round_trips=len(found[variant]),
    )
