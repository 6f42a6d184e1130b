"""How long a LAN with two routers is away for the mesh when the router in charge is lost: over many runs.

client (a node) ── Internet ──┬── router-1 ──┐
                              └── router-2 ──┴── switch ── host (web)

`cable`: its LAN port loses the link. `killed`: kill -9 of its daemon. Measured is the
time from the event to the next page that comes; a page is asked for again and again. Before each run both routers serve
again, the lost one started anew and connected long enough to be a substitute. WAYPOST_BENCH_RUNS sets how often each
happens (3, or 50 with WAYPOST_BENCH_FULL=1).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.control_load import FULL
from bench.report import line, middle
from control.service.takeovers import STEADY_S
from tests.lab.namespaces import Lab
from tests.lab.processes import wait_until
from tests.lab.test_failover import LAN, Pair, join, pair

RUNS = int(os.environ.get("WAYPOST_BENCH_RUNS", "50" if FULL else "3"))
LIMIT_S = 60.0
PORTS = {"router-1": "port1", "router-2": "port2"}


def pull(world: Pair, name: str) -> None:
    world.switch.ip(f"link set {PORTS[name]} down")


def kill(world: Pair, name: str) -> None:
    world.routers[name].kill()


EVENTS: dict[str, Callable[[Pair, str], None]] = {"cable": pull, "killed": kill}


def once(world: Pair, act: Callable[[Pair, str], None]) -> float:
    """Seconds without a page."""
    first = world.primary()
    act(world, first)
    started = time.monotonic()
    wait_until(lambda: world.page_comes() and world.primary() != first, LIMIT_S, "the other router")
    away_s = time.monotonic() - started
    restore(world, first)
    return away_s


def restore(world: Pair, name: str) -> None:
    """Both routers serve, and the lost one has forgotten that it was lost."""
    world.switch.ip(f"link set {PORTS[name]} up")
    router = world.routers[name]
    assert router.process is not None
    if router.process.running:
        router.process.stop()
    router.start()
    wait_until(lambda: serving(world) == 2, LIMIT_S, "both routers to serve")
    wait_until(world.page_comes, LIMIT_S, "the page")
    time.sleep(STEADY_S + 1)


def serving(world: Pair) -> int:
    """Routers that are connected and offer the LAN."""
    found = 0
    for router in world.routers.values():
        status = router.status()
        node = status["self_node"] or {}
        found += status["control"]["connected"] and LAN in node.get("advertised_routes", ())
    return found


def run(directory: Path) -> Iterator[str]:
    with Lab(directory / "logs") as lab:
        world = pair(lab, directory)
        join(world)
        wait_until(lambda: serving(world) == 2, LIMIT_S, "both routers to serve")
        for event, act in EVENTS.items():
            yield report(event, sorted(once(world, act) for _ in range(RUNS)))


def report(event: str, seconds: list[float]) -> str:
    """`seconds` in order; the median, the distribution beside it."""
    at = {
        name: seconds[min(int(len(seconds) * share), len(seconds) - 1)] for name, share in (("p10", 0.1), ("p90", 0.9))
    }
    rounded = {name: round(value, 2) for name, value in {"min": seconds[0], **at, "max": seconds[-1]}.items()}
    return line("ha_failover", middle(seconds), "s", variant=event, runs=len(seconds), **rounded)
