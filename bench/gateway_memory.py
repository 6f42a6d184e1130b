"""Memory of a running gateway with one peer, in MiB of PSS (/proc/PID/smaps_rollup), each variant after a restart.

`core` is the daemon with subnet_router and magicdns, every other plugin switched off; `all` is the daemon and every
process that it started, with all plugins that are on by default.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from bench.report import line, middle
from tests.lab.mesh import Gateway
from tests.lab.namespaces import Lab
from tests.lab.sites import two_sites, wait_for_page

RUNS = 3
CORE = ("subnet_router", "magicdns")


def family(pid: int) -> list[int]:
    """The process and all below it."""
    below = [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]
    return [pid, *(found for child in below for found in family(child))]


def pss_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def processes(gateway: Gateway) -> list[float]:
    assert gateway.process is not None
    return [pss_mib(pid) for pid in family(gateway.process.popen.pid)]


def restart(gateway: Gateway) -> None:
    assert gateway.process is not None
    gateway.process.stop()
    gateway.start()


def once(directory: Path) -> tuple[float, list[float]]:
    """PSS of the core, then of each process with all plugins."""
    with Lab(directory / "logs") as lab:
        sites = two_sites(lab, directory)
        sites.join()
        wait_for_page(sites)
        restart(sites.a)
        wait_for_page(sites)
        everything = processes(sites.a)
        for plugin in sites.a.json("plugins", "list"):
            if plugin["name"] not in CORE:
                sites.a.must("plugins", "disable", plugin["name"])
        restart(sites.a)
        wait_for_page(sites)
        return sum(processes(sites.a)), everything


def run(directory: Path) -> Iterator[str]:
    runs = [once(directory / str(number)) for number in range(RUNS)]
    yield line("gateway_memory", middle([core for core, _ in runs]), "MiB", variant="core", runs=RUNS, peers=1)
    yield line(
        "gateway_memory",
        middle([sum(everything) for _, everything in runs]),
        "MiB",
        variant="all",
        runs=RUNS,
        peers=1,
        processes=len(runs[-1][1]),
    )
