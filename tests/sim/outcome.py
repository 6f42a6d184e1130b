"""What one seed showed, as values that survive a file, and the figures over many."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field


@dataclass
class PairResult:
    """Of one node toward another. Seconds from its first packet to the first one that arrived, to a direct path, to one
    by a peer relay; None: never. `path`: its kind when paths are judged."""

    possible: bool
    path: str
    first_s: float | None = None
    direct_s: float | None = None
    relayed_s: float | None = None


@dataclass
class Problem:
    """`kind` in a few fixed words, so that a shrunk story is known to show the same."""

    kind: str
    text: str


@dataclass
class Outcome:
    """`problems` empty: all held. `recovery_s`: longest silence after the fault, of the pairs that it touched."""

    seed: int
    problems: list[Problem] = field(default_factory=list)
    pairs: list[PairResult] = field(default_factory=list)
    fault: str = ""
    recovery_s: float | None = None
    story: str = ""
    timeline: str = ""

    def problem(self, kind: str, text: str) -> None:
        self.problems.append(Problem(kind, text))

    def line(self) -> str:
        """Without story and timeline, which a seed gives back any time."""
        plain = asdict(self)
        del plain["story"], plain["timeline"]
        return json.dumps(plain, separators=(",", ":"))


def parse_line(text: str) -> Outcome:
    plain = json.loads(text)
    problems = [Problem(**problem) for problem in plain.pop("problems")]
    pairs = [PairResult(**pair) for pair in plain.pop("pairs")]
    return Outcome(problems=problems, pairs=pairs, **plain)


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _spread(values: Iterable[float | None]) -> dict[str, float]:
    known = [value for value in values if value is not None]
    shares = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
    return {name: round(percentile(known, share), 3) for name, share in shares}


def summary(outcomes: Sequence[Outcome], seconds: float) -> dict[str, object]:
    """The figures of a run that took so long."""
    pairs = [pair for outcome in outcomes for pair in outcome.pairs]
    paths = Counter(pair.path for pair in pairs)
    recovery: dict[str, list[float | None]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.fault:
            recovery[outcome.fault].append(outcome.recovery_s)
    possible = [pair for pair in pairs if pair.possible]
    return {
        "networks": len(outcomes),
        "failed": [outcome.seed for outcome in outcomes if outcome.problems],
        "pairs": len(pairs),
        "share": {path: round(count / max(len(pairs), 1), 3) for path, count in sorted(paths.items())},
        "direct_where_possible": round(sum(p.direct_s is not None for p in possible) / max(len(possible), 1), 4),
        "first_packet_s": _spread(pair.first_s for pair in pairs),
        "direct_s": _spread(pair.direct_s for pair in pairs),
        "relayed_s": _spread(pair.relayed_s for pair in pairs),
        "recovery_s": {fault: _spread(values) for fault, values in sorted(recovery.items())},
        "networks_a_minute": round(60 * len(outcomes) / max(seconds, 1e-9)),
    }
