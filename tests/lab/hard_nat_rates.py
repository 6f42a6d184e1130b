"""How often gateways behind hard NATs get a direct path on real packets: python -m tests.lab.hard_nat_rates TRIALS

The lab of test_hard_nat.py, once for each pair of NATs; before each trial both daemons are started anew. Prints lines
of the table in docs/hard-nat.md; the time counts from the first packet.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path
from statistics import median

from tests.lab.namespaces import Lab, enter_user_namespace
from tests.lab.processes import TimeoutExceeded, wait_until
from tests.lab.sites import TwoSites, two_sites, wait_for_page
from tests.lab.topology import NatKind

PAIRS = (
    (NatKind.SYMMETRIC, NatKind.EASY),
    (NatKind.COUNTING, NatKind.EASY),
    (NatKind.COUNTING, NatKind.COUNTING),
)
PATIENCE_S = 60
"""One attempt with its rounds; the second comes later."""


def direct(sites: TwoSites) -> bool:
    return sites.page_comes() and {sites.a.path_to("gateway-b"), sites.b.path_to("gateway-a")} == {"direct"}


def trial(sites: TwoSites) -> float | None:
    """Seconds to the direct path, None when there was none."""
    for gateway in (sites.a, sites.b):
        assert gateway.process is not None
        gateway.process.stop()
        gateway.start()
    by_relay = wait_for_page(sites, 60)
    with contextlib.suppress(TimeoutExceeded):
        return by_relay + wait_until(lambda: direct(sites), PATIENCE_S, "a direct path")
    return None


def main(trials: int) -> None:
    for pair in PAIRS:
        with tempfile.TemporaryDirectory() as folder, Lab(Path(folder) / "logs") as lab:
            sites = two_sites(lab, Path(folder), *pair)
            sites.join()
            wait_for_page(sites)
            took = [trial(sites) for _ in range(trials)]
        found = [seconds for seconds in took if seconds is not None]
        half = f"{median(found):.1f} s" if found else "-"
        print(f"| {pair[0]} | {pair[1]} | {len(found) / trials:.0%} of {trials} | {half} |", flush=True)


if __name__ == "__main__":
    enter_user_namespace()
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
