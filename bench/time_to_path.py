"""From `waypost up` to the first reply of the other LAN and to the direct path, as a person at the terminal has it.

The clock starts when the command `waypost up` starts on a running daemon; logging in, the map, the approval of the LAN
and the web page itself are inside. `derp`: UDP blocked at both sites; `first_reply` and `direct`: two easy NATs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bench.report import line, middle
from tests.lab.namespaces import Lab
from tests.lab.sites import two_sites, wait_for_page
from tests.lab.topology import NatKind

RUNS = 5


def once(directory: Path, kind: NatKind) -> tuple[float, float | None]:
    """Seconds to the first page, and to the direct path (None where UDP is blocked)."""
    with Lab(directory / "logs") as lab:
        sites = two_sites(lab, directory, kind, kind)
        pairs = [(sites.b, sites.site_b.lan, "gateway-b"), (sites.a, sites.site_a.lan, "gateway-a")]
        keys = [sites.control.pre_auth_key("demo") for _ in pairs]
        for gateway, _, _ in pairs:
            gateway.start()
        started, started_at = 0.0, datetime.now(UTC)
        for (gateway, lan, name), key in zip(pairs, keys, strict=True):
            started, started_at = time.monotonic(), datetime.now(UTC)
            gateway.up(key, "--hostname", name, "--advertise-routes", lan, "--accept-routes")
            sites.control.json("routes", "approve", name)
        wait_for_page(sites)
        first = time.monotonic() - started
        if kind is NatKind.UDP_BLOCKED:
            return first, None
        sites.a.wait_for_path("gateway-b", "direct")
        direct = next(at for at, path in sites.a.path_history("gateway-b") if path == "direct")
        return first, (direct - started_at).total_seconds()


def run(directory: Path) -> Iterator[str]:
    blocked = [once(directory / f"derp{number}", NatKind.UDP_BLOCKED)[0] for number in range(RUNS)]
    yield line("time_to_path", middle(blocked), "s", variant="derp", runs=RUNS)
    easy = [once(directory / f"easy{number}", NatKind.EASY) for number in range(RUNS)]
    yield line("time_to_path", middle([first for first, _ in easy]), "s", variant="first_reply", runs=RUNS)
    yield line("time_to_path", middle([direct or 0.0 for _, direct in easy]), "s", variant="direct", runs=RUNS)
