"""How many simulated networks a minute the machine plays, on all its cores and per CPU second. No sockets, no waiting.

`networks_a_minute` depends on what else runs here; networks per CPU second depend less on it.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from bench.report import line
from tests.sim.__main__ import run as play_seeds

SEEDS = range(400)


def run(directory: Path) -> Iterator[str]:
    jobs = os.cpu_count() or 1
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    outcomes = play_seeds(SEEDS, max(2, jobs), None)
    seconds = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    failed = sum(bool(outcome.problems) for outcome in outcomes)
    extra = {"networks": len(outcomes), "failed": failed, "jobs": jobs}
    yield line("sim_speed", 60 * len(outcomes) / seconds, "networks/min", variant="wall", **extra)
    yield line("sim_speed", 60 * len(outcomes) / cpu_s, "networks/min", variant="cpu", **extra)
