"""Run seeds: `python -m tests.sim --seeds 0-299 [--jobs 2] [--show SEED]`. Failing seeds print their story."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable
from multiprocessing import Pool

from tests.sim.scenario import Outcome, play, report


def seed_range(text: str) -> range:
    """`A-B` inclusive, or one number."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def summary(outcomes: list[Outcome], seconds: float) -> dict[str, object]:
    after = [value for outcome in outcomes for value in outcome.direct_after]
    pairs = sum(outcome.direct + outcome.derp for outcome in outcomes)
    return {
        "networks": len(outcomes),
        "failed": [outcome.seed for outcome in outcomes if outcome.problems],
        "pairs": pairs,
        "direct_share": round(sum(outcome.direct for outcome in outcomes) / max(pairs, 1), 3),
        "derp_share": round(sum(outcome.derp for outcome in outcomes) / max(pairs, 1), 3),
        "direct_s": {
            name: round(percentile(after, share), 3) for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
        },
        "networks_a_minute": round(60 * len(outcomes) / max(seconds, 1e-9)),
    }


def play_all(seeds: Iterable[int], jobs: int) -> list[Outcome]:
    if jobs == 1:
        return [play(seed) for seed in seeds]
    with Pool(jobs) as pool:
        return list(pool.imap(play, seeds, chunksize=4))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=seed_range, default=seed_range("0-299"), help="A-B, both included")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--show", type=int, help="print the story of one seed")
    options = parser.parse_args()
    if options.show is not None:
        outcome = play(options.show)
        print(report(outcome))
        return bool(outcome.problems)
    started = time.monotonic()
    outcomes = play_all(options.seeds, options.jobs)
    for outcome in outcomes:
        if outcome.problems:
            print(report(outcome), end="\n\n")
    result = summary(outcomes, time.monotonic() - started)
    print(json.dumps({"sim": result}))
    return bool(result["failed"])


if __name__ == "__main__":
    sys.exit(main())
