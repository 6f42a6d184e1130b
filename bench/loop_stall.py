"""Worst delay of waypostd's event loop while one TCP stream runs through its tunnel, and while it idles.

site A host -- gateway A ==== WireGuard, direct ==== gateway B -- site B host     iperf3 from LAN A to LAN B
The daemon measures itself (LocalAPI `loop`): it sleeps 2 ms again and again and notes how much later it got.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.report import line, middle
from tests.lab.mesh import command
from tests.lab.namespaces import Lab, LabError
from tests.lab.sites import TwoSites, two_sites, wait_for_page

RUNS = 5
SECONDS = 5


def delays(sites: TwoSites) -> tuple[float, float]:
    """Worst and 99th percentile, in ms, of gateway A (it sends)."""
    found = sites.a.json("debug", "loop", "--seconds", str(SECONDS))
    return found["worst_s"] * 1e3, found["p99_s"] * 1e3


def under_load(sites: TwoSites) -> tuple[float, float, float]:
    """The same while iperf3 runs, and the Gbit/s that it got."""
    server = sites.site_b.host.start("iperf3", "iperf3", "--server", "--one-off", "--forceflush")
    server.wait_for_output("listening")
    client = sites.site_a.host.start(
        "iperf3-client", "iperf3", "--client", sites.site_b.host_ip, "--time", str(SECONDS + 2), "--json"
    )
    worst, p99 = delays(sites)
    code = client.popen.wait(30)
    server.stop()
    if code:
        raise LabError(f"iperf3: {client.output()[-300:]}")
    gbit_s = float(command(sites.site_a.host, "cat", str(client.log)).json()["end"]["sum_received"]["bits_per_second"])
    server.log.unlink()
    client.log.unlink()
    return worst, p99, gbit_s / 1e9


def run(directory: Path) -> Iterator[str]:
    with Lab(directory / "logs") as lab:
        sites = two_sites(lab, directory)
        sites.join()
        wait_for_page(sites)
        sites.a.wait_for_path("gateway-b", "direct")
        idle = [delays(sites) for _ in range(RUNS)]
        load = [under_load(sites) for _ in range(RUNS)]
    yield line(
        "loop_stall",
        max(worst for worst, _ in idle),
        "ms",
        variant="idle",
        p99=round(middle([p99 for _, p99 in idle]), 2),
    )
    yield line(
        "loop_stall",
        max(worst for worst, _, _ in load),
        "ms",
        variant="one-tcp-stream",
        median_worst=round(middle([worst for worst, _, _ in load]), 2),
        p99=round(middle([p99 for _, p99, _ in load]), 2),
        gbit_s=round(middle([rate for _, _, rate in load]), 3),
        runs=RUNS,
        seconds=SECONDS,
    )
