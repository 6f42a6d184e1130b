"""From `waypost up` to the first reply of the other LAN (through DERP) and to the direct path, two easy NATs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from bench.report import line, middle
from tests.lab.mesh import Gateway
from tests.lab.namespaces import Lab
from tests.lab.processes import wait_until
from tests.lab.sites import two_sites, wait_for_page

RUNS = 5


def once(directory: Path) -> tuple[float, float]:
    with Lab(directory / "logs") as lab:
        sites = two_sites(lab, directory)
        pairs: list[tuple[Gateway, str, str]] = [
            (sites.b, sites.site_b.lan, "gateway-b"),
            (sites.a, sites.site_a.lan, "gateway-a"),
        ]
        keys = [sites.control.pre_auth_key("demo") for _ in pairs]
        started = 0.0
        for (gateway, lan, name), key in zip(pairs, keys, strict=True):
            gateway.start()
            started = time.monotonic()
            gateway.up(key, "--hostname", name, "--advertise-routes", lan, "--accept-routes")
            sites.control.json("routes", "approve", name)
        wait_for_page(sites)
        first = time.monotonic() - started
        wait_until(lambda: sites.a.path_to("gateway-b") == "direct", 60, "the direct path")
        return first, time.monotonic() - started


def run(directory: Path) -> Iterator[str]:
    results = [once(directory / str(number)) for number in range(RUNS)]
    yield line("time_to_path", middle([first for first, _ in results]), "s", variant="first_reply", runs=RUNS)
    yield line("time_to_path", middle([direct for _, direct in results]), "s", variant="direct", runs=RUNS)
