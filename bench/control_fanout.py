"""One node's change to the last of its peers, all real map streams to a real `waypost-control` on loopback.

The largest group has up to 1,000 nodes. The simulated nodes' own decoding is part of the delay, as it is of real ones.
CPU seconds are the server's, by /proc/PID/stat.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

from bench.control_load import SIZES, Fleet, fleet
from bench.report import line

CHANGES = 40
WARM_UP = 5
LIMIT_S = 60.0
LOOK_S = 0.001


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def measure(made: Fleet, nodes: int) -> tuple[list[float], float, int]:
    """Seconds until the last viewer knew, per change; the server's CPU seconds for all of them; viewers."""
    await made.start()
    await made.join(nodes)
    async with asyncio.TaskGroup() as tasks:
        streams = [tasks.create_task(node.stay()) for node in made.nodes]
        async with asyncio.timeout(600):
            await made.all_told()
        await asyncio.sleep(3)
        found = await change(made)
        for stream in streams:
            stream.cancel()
    for node in made.nodes:
        node.close()
    return found


async def change(made: Fleet) -> tuple[list[float], float, int]:
    group = made.groups[0]
    teller, viewers = group[0], group[1:]
    changer = type(teller)(teller.host, teller.port, teller.key, teller.name, machine=teller.machine, node=teller.node)
    await changer.connect()
    delays: list[float] = []
    cpu = 0.0
    for number in range(WARM_UP + CHANGES):
        if number == WARM_UP:
            cpu = sum(made.cpu_of_each())
        endpoint = f"192.0.2.{number + 1}:41641"
        for viewer in viewers:
            viewer.wanted, viewer.seen = endpoint.encode(), False
        started = time.monotonic()
        await changer.update(endpoints=[endpoint], endpoint_types=[1])
        async with asyncio.timeout(LIMIT_S):
            for viewer in viewers:
                while not viewer.seen:
                    await asyncio.sleep(LOOK_S)
        if number >= WARM_UP:
            delays.append(time.monotonic() - started)
    changer.close()
    return delays, sum(made.cpu_of_each()) - cpu, len(viewers)


def run(directory: Path) -> Iterator[str]:
    for nodes in SIZES:
        with fleet(directory / str(nodes), nodes) as made:
            delays, cpu, viewers = asyncio.run(measure(made, nodes))
        for share, variant in ((0.5, "p50"), (0.99, "p99")):
            value = percentile(delays, share) * 1e3
            yield line("control_fanout", value, "ms", variant=variant, nodes=nodes, peers=viewers, changes=len(delays))
        per_1000 = cpu / (len(delays) * viewers) * 1000
        yield line("control_fanout", per_1000, "s", variant="cpu_per_1000_deliveries", nodes=nodes, peers=viewers)
