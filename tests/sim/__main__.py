"""Run seeds: `python -m tests.sim --seeds 0-299 [--jobs 2] [--log FILE] [--show SEED]`.

A failing seed is shrunk to the shortest story that fails alike and printed as a timeline. With `--log` every outcome is
kept in a file, and a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from multiprocessing import Pool
from pathlib import Path

from tests.sim.hard_nat_success import measure
from tests.sim.outcome import Outcome, parse_line, summary
from tests.sim.plan import draw
from tests.sim.scenario import play, report
from tests.sim.shrink import shrink

SHRUNK_AT_MOST = 5


def seed_range(text: str) -> range:
    """`A-B` inclusive, or one number."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def play_all(seeds: Iterable[int], jobs: int) -> Iterator[Outcome]:
    if jobs == 1:
        yield from map(play, seeds)
        return
    with Pool(jobs) as pool:
        yield from pool.imap_unordered(play, seeds, chunksize=4)


def read_log(path: Path | None, seeds: range) -> list[Outcome]:
    """Outcomes of these seeds from an earlier run; a last line that was cut off is left out."""
    if path is None or not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    known = [parse_line(line) for line in lines if line.endswith("\n")]
    return [outcome for outcome in known if outcome.seed in seeds]


def drop_half_line(path: Path) -> None:
    """A run that was killed may have left one at the end."""
    text = path.read_text() if path.exists() else ""
    if text and not text.endswith("\n"):
        path.write_text(text[: text.rfind("\n") + 1])


def run(seeds: range, jobs: int, log: Path | None) -> list[Outcome]:
    """Play what the log does not know yet."""
    outcomes = read_log(log, seeds)
    known = {outcome.seed for outcome in outcomes}
    todo = [seed for seed in seeds if seed not in known]
    with ExitStack() as stack:
        file = None
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            drop_half_line(log)
            file = stack.enter_context(log.open("a"))
        for outcome in play_all(todo, jobs):
            outcomes.append(outcome)
            if file is not None:
                file.write(outcome.line() + "\n")
                file.flush()
    return outcomes


def tell_failures(outcomes: list[Outcome]) -> None:
    failed = [outcome for outcome in outcomes if outcome.problems]
    for outcome in sorted(failed, key=lambda each: each.seed)[:SHRUNK_AT_MOST]:
        plan = draw(outcome.seed)
        _, shortest = shrink(plan, outcome)
        print(report(shortest if shortest.timeline else play(plan)), end="\n\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=seed_range, default=seed_range("0-299"), help="A-B, both included")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--log", type=Path, help="keep outcomes here; an interrupted run goes on from it")
    parser.add_argument("--hard-nat", type=int, metavar="N", help="measure the crossing of hard NATs by N trials each")
    parser.add_argument("--show", type=int, help="print the story of one seed, shrunk when it fails")
    options = parser.parse_args()
    if options.show is not None:
        outcome = play(options.show)
        if outcome.problems:
            _, outcome = shrink(draw(options.show), outcome)
        print(report(outcome))
        return bool(outcome.problems)
    if options.hard_nat:
        for row in measure(options.hard_nat, options.jobs):
            print(json.dumps(row))
        return 0
    started = time.monotonic()
    outcomes = run(options.seeds, options.jobs, options.log)
    seconds = time.monotonic() - started
    tell_failures(outcomes)
    result = summary(outcomes, seconds)
    print(json.dumps({"sim": result}))
    return bool(result["failed"])


if __name__ == "__main__":
    sys.exit(main())
