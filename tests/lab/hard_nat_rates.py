"""How often gateways behind hard NATs get a direct path on real packets: python -m tests.lab.hard_nat_rates 10 [PAIR …]

The lab of test_hard_nat.py with a second relay, whose STUN server is needed to tell a block of ports; once for each
pair of NATs, as `counting:block`. Before each trial both daemons are started anew. Prints lines of the table in
docs/hard-nat.md; the time counts from the first packet.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path
from statistics import median

from tests.lab.namespaces import Lab, enter_user_namespace
from tests.lab.processes import TimeoutExceeded, wait_until
from tests.lab.sites import TwoSites, two_sites, wait_for_page
from tests.lab.test_derp_mesh import Relay
from tests.lab.test_hard_nat import direct, guessed
from tests.lab.test_home_region import regions
from tests.lab.topology import Internet, NatKind

PAIRS = ("symmetric:easy", "counting:easy", "counting:counting", "counting:block", "block:block")
PATIENCE_S = 60
"""One attempt with its rounds; the second comes later."""


def build(lab: Lab, directory: Path, pair: str) -> TwoSites:
    def second_relay(internet: Internet) -> None:
        relay = Relay(internet.server("derp-902", 2), "203.0.113.2", directory / "derp")
        relay.start()
        (directory / "map.json").write_text(json.dumps(regions({902: relay})))

    (directory / "control.toml").write_text(f'version = 1\n[derp_map]\nfiles = ["{directory / "map.json"}"]\n')
    options = ("--config", str(directory / "control.toml"))
    kinds = map(NatKind, pair.split(":"))
    sites = two_sites(lab, directory, *kinds, control_options=options, before_control=second_relay)
    sites.join()
    wait_for_page(sites)
    return sites


def trial(sites: TwoSites) -> float | None:
    """Seconds to the direct path, None when there was none. Nothing is left of the trial before."""
    for gateway in (sites.a, sites.b):
        assert gateway.process is not None
        gateway.process.stop()
    for place in (sites.site_a, sites.site_b):
        place.router.run("conntrack", "-F")  # the way of the trial before is closed
    for gateway in (sites.a, sites.b):
        gateway.start()
    wait_for_page(sites, 60)
    with contextlib.suppress(TimeoutExceeded):
        wait_until(lambda: direct(sites), PATIENCE_S, "a direct path")
        assert guessed(sites)
        times = {kind: at for at, kind in reversed(sites.a.path_history("gateway-b"))}
        return (times["direct"] - times["derp"]).total_seconds()
    return None


def main(trials: int, pairs: tuple[str, ...]) -> None:
    for pair in pairs:
        with tempfile.TemporaryDirectory() as folder, Lab(Path(folder) / "logs") as lab:
            sites = build(lab, Path(folder), pair)
            took = [trial(sites) for _ in range(trials)]
        found = [seconds for seconds in took if seconds is not None]
        half = f"{median(found):.1f} s" if found else "-"
        print(f"| {pair} | {len(found) / trials:.0%} of {trials} | {half} |", flush=True)


if __name__ == "__main__":
    enter_user_namespace()
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10, tuple(sys.argv[2:]) or PAIRS)
