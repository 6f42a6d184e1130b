"""Datagrams of 64 bytes through two userspace engines, as many as one sender can make, against two wireguard-go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.userspace_tcp import RUNS, SECONDS, Link, Result, compared
from tests.lab.mesh import command
from tests.lab.namespaces import Lab, LabError, Namespace

PAYLOAD = 64


def packets_per_s(sender: Namespace, receiver: Namespace) -> float:
    """Thousands of datagrams a second that arrived."""
    server = receiver.start("iperf3", "iperf3", "--server", "--one-off", "--bind", "10.77.0.2", "--forceflush")
    server.wait_for_output("listening")
    load = ("--udp", "--bandwidth", "0", "--length", str(PAYLOAD), "--time", str(SECONDS + 1))
    result = command(sender, "iperf3", "--client", "10.77.0.2", *load, "--json")
    server.stop()
    server.log.unlink()
    if result.code:
        raise LabError(f"iperf3: {result.stdout[-300:]}")
    total = result.json()["end"]["sum_received"]
    return float(total["packets"] - total["lost_packets"]) / float(total["seconds"]) / 1e3


def run(directory: Path) -> Iterator[str]:
    with Lab(directory / "logs") as lab:
        link = Link(lab)
        found: dict[str, list[Result]] = {"native": [], "pure": [], "wireguard-go": []}
        for _ in range(RUNS):
            for form in ("native", "pure"):
                found[form].append(link.measure(link.ours(1280, form), packets_per_s))
            found["wireguard-go"].append(link.measure(link.wireguard_go(1280), packets_per_s))
        for form in ("native", "pure"):
            yield compared("udp_small", "thousand packets/s", form, found[form], found["wireguard-go"])
