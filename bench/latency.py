"""What a userspace engine adds to the round trip of a small packet, against wireguard-go, in turns on one machine.

a (engine) ---- veth ---- (engine) b      ping from a to b through the tunnel, and over the cable itself

A round trip passes each engine twice. `kernel_tcp` measures the same for the kernel engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.round_trips import added, round_trips
from bench.userspace_tcp import RUNS, Link
from tests.lab.namespaces import Lab, Namespace

MTU = 1280


def run(directory: Path) -> Iterator[str]:
    found: dict[str, list[float]] = {"native": [], "pure": [], "wireguard-go": [], "cable": []}
    with Lab(directory / "logs") as lab:
        link = Link(lab)
        for _ in range(RUNS):
            for form in ("native", "pure"):
                link.measure(link.ours(MTU, form), _into(found[form]))
            link.measure(link.wireguard_go(MTU), _into(found["wireguard-go"]))
            found["cable"] += round_trips(link.hosts[0], "192.0.2.2")
    for form in ("native", "pure"):
        yield added("latency", form, "wireguard-go", found)


def _into(kept: list[float]):
    """A load for `Link.measure` that keeps its round trips."""

    def load(sender: Namespace, _receiver: Namespace) -> float:
        kept.extend(round_trips(sender, "10.77.0.2"))
        return 0.0

    return load
