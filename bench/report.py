"""The one form of every benchmark line: JSON with the figure, the peer's figure of the same run, and their ratio."""

from __future__ import annotations

import json
from statistics import median


def line(
    bench: str,
    value: float,
    unit: str,
    *,
    variant: str | None = None,
    peer: str | None = None,
    peer_value: float | None = None,
    **more: object,
) -> str:
    """One result as a JSON line. `ratio` is value ÷ peer_value."""
    record: dict[str, object] = {"bench": bench}
    if variant is not None:
        record["variant"] = variant
    record |= {"value": round(value, 4), "unit": unit}
    if peer is not None and peer_value:
        record |= {"peer": peer, "peer_value": round(peer_value, 4), "ratio": round(value / peer_value, 3)}
    return json.dumps(record | more)


def middle(values: list[float]) -> float:
    """The median, the figure to quote."""
    return float(median(values))
