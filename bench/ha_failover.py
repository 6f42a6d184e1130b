"""How long a LAN with two routers is away for the mesh when the router in charge is lost: over many runs.

client (a node) ── Internet ──┬── router-1 ──┐
                              └── router-2 ──┴── switch ── host (web)

`cable`: its LAN port loses the link. `killed`: kill -9 of its daemon. `lan`: the LAN behind a good cable is gone.
Measured are the stop of a running HTTP transfer in each IP version, and beside it the time from the event to the next
new page by IPv4, which is asked for again and again. Before each run both routers serve again, the lost one started
anew and connected long enough to be a substitute. WAYPOST_BENCH_RUNS sets how often each happens (3, or 50 with
WAYPOST_BENCH_FULL=1).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.control_load import FULL
from bench.report import line, middle
from control.service.takeovers import STEADY_S
from tests.lab.namespaces import Lab
from tests.lab.processes import pause, wait_until
from tests.lab.test_failover import HOSTS, Download, Pair, downloads, pair_with_shared_address, pull

RUNS = int(os.environ.get("WAYPOST_BENCH_RUNS", "50" if FULL else "3"))
LIMIT_S = 60.0
STOPPED_S = 0.4
"""The transfer's rate is even: such a pause is none of its own."""
PORTS = {"router-1": "port1", "router-2": "port2"}

EVENTS: dict[str, Callable[[Pair, str], None]] = {
    "cable": lambda world, name: pull(world, PORTS[name]),
    "killed": lambda world, name: world.routers[name].kill(),
    "lan": lambda world, name: world.switch.ip(f"link set {PORTS[name]} nomaster"),
}


def once(world: Pair, act: Callable[[Pair, str], None], directory: Path) -> tuple[float, ...]:
    """Seconds that the transfer of each IP version stood still, and seconds without a page."""
    first = world.primary()
    running = downloads(world, directory, HOSTS)
    with ThreadPoolExecutor(1) as beside:
        act(world, first)
        page = beside.submit(wait_until, world.page_comes, LIMIT_S, "a page by the other router")
        wait_for_stops(running)
        page_s = page.result()
    for each in running:
        each.curl.stop()
    assert world.primary() != first
    restore(world, first)
    return *(each.longest for each in running), page_s


def wait_for_stops(running: list[Download]) -> None:
    """Until each transfer goes on after its stop."""
    while waiting := [each for each in running if each.longest < STOPPED_S]:
        for each in waiting:
            assert each.look() < LIMIT_S, f"the transfer by {each.version} does not go on"
        pause(0.01)


def restore(world: Pair, name: str) -> None:
    """Both routers serve, and the lost one has forgotten that it was lost."""
    world.switch.ip(f"link set {PORTS[name]} up master lan")
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
    for name, router in world.routers.items():
        found += router.status()["control"]["connected"] and world.serves(name)
    return found


def run(directory: Path) -> Iterator[str]:
    with Lab(directory / "logs") as lab:
        world = pair_with_shared_address(lab, directory)
        wait_until(lambda: serving(world) == 2, LIMIT_S, "both routers to serve")
        for event, act in EVENTS.items():
            runs = [once(world, act, directory) for _ in range(RUNS)]
            variants = event, f"{event}, IPv6", f"{event}, new page"
            for variant, seconds in zip(variants, zip(*runs, strict=True), strict=True):
                yield report(variant, sorted(seconds))


def report(event: str, seconds: list[float]) -> str:
    """`seconds` in order; the median, the distribution beside it."""
    at = {
        name: seconds[min(int(len(seconds) * share), len(seconds) - 1)] for name, share in (("p10", 0.1), ("p90", 0.9))
    }
    rounded = {name: round(value, 2) for name, value in {"min": seconds[0], **at, "max": seconds[-1]}.items()}
    return line("ha_failover", middle(seconds), "s", variant=event, runs=len(seconds), **rounded)
