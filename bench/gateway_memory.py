"""Memory of a running gateway with one peer: PSS of the daemon in MiB (/proc/PID/smaps_rollup)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from bench.report import line, middle
from tests.lab.namespaces import Lab
from tests.lab.sites import two_sites, wait_for_page

RUNS = 3


def pss_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def once(directory: Path) -> float:
    with Lab(directory / "logs") as lab:
        sites = two_sites(lab, directory)
        sites.join()
        wait_for_page(sites)
        assert sites.a.process is not None
        return pss_mib(sites.a.process.popen.pid)


def run(directory: Path) -> Iterator[str]:
    value = middle([once(directory / str(number)) for number in range(RUNS)])
    # subnet_router is the only plugin so far, so both variants are the same process.
    yield line("gateway_memory", value, "MiB", variant="core", runs=RUNS, peers=1)
    yield line("gateway_memory", value, "MiB", variant="all", runs=RUNS, peers=1)
