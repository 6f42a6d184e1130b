"""Whether another run follows the one that ends, or the machine goes down: then an exit's guard stays.

The unit names itself in `WAYPOST_UNIT`; its job, which stands until the stop is done, says what was asked for:
`systemctl stop` is a job "stop", `systemctl restart` one "restart". Without that name, as by hand, an end is an end.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping

import structlog

log = structlog.get_logger("waypostd")

UNIT = "WAYPOST_UNIT"
LIST_JOBS = ("systemctl", "list-jobs", "--no-legend", "--no-pager", "--plain", "--full")
ANSWER_S = 5.0
"""Well within the unit's TimeoutStopSec."""
_STARTS = ("start", "restart")
_GOES_DOWN = "shutdown.target"


async def guard_outlives(environment: Mapping[str, str] = os.environ) -> bool:
    """True as well where systemd does not answer: nobody knows that the host shall be open."""
    unit = environment.get(UNIT, "")
    if not unit:
        return False
    try:
        jobs = await asyncio.to_thread(_ask)
    except (OSError, subprocess.SubprocessError) as error:
        mend = "if the host shall be open: sudo waypostd --clean-up"
        log.warning("systemd does not say if a start follows: an exit's guard stays", error=str(error), mend=mend)
        return True
    return run_follows(unit, jobs)


def run_follows(unit: str, jobs: str) -> bool:
    """`jobs`: lines of number, unit, type and state."""
    listed = [words[1:3] for line in jobs.splitlines() if len(words := line.split()) >= 3]
    return any(kind in _STARTS for name, kind in listed if name in (unit, _GOES_DOWN))


def _ask() -> str:
    return subprocess.run(LIST_JOBS, capture_output=True, text=True, check=True, timeout=ANSWER_S).stdout
