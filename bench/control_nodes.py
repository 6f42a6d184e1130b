"""Memory and idle CPU of `waypost-control` against the number of connected nodes, all on map streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

from bench.control_load import SIZES, Fleet, cpu_s, fleet, resident_kib
from bench.report import line

IDLE_S = 10.0


async def measure(made: Fleet, nodes: int) -> dict[str, float]:
    await made.start()
    before = resident_kib(made.pid)
    await made.join(nodes)
    registered = resident_kib(made.pid)
    async with asyncio.TaskGroup() as tasks:
        streams = [tasks.create_task(node.stay()) for node in made.nodes]
        async with asyncio.timeout(600):
            await made.all_told()
        await asyncio.sleep(2)
        cpu, started = cpu_s(made.pid), time.monotonic()
        await asyncio.sleep(IDLE_S)
        share = (cpu_s(made.pid) - cpu) / (time.monotonic() - started)
        found = {
            "kib_per_connected": (resident_kib(made.pid) - registered) / nodes,
            "kib_per_node": (resident_kib(made.pid) - before) / nodes,
            "idle_cpu": share,
            "joins_per_s": nodes / made.joined_s,
        }
        for stream in streams:
            stream.cancel()
    for node in made.nodes:
        node.close()
    return found


def run(directory: Path) -> Iterator[str]:
    for nodes in SIZES:
        with fleet(directory / str(nodes), nodes, fresh=True) as made:
            found = asyncio.run(measure(made, nodes))
        yield line("control_nodes", found["kib_per_connected"], "KiB", variant="memory_per_connected_node", nodes=nodes)
        yield line("control_nodes", found["kib_per_node"], "KiB", variant="memory_per_node_in_all", nodes=nodes)
        yield line("control_nodes", found["idle_cpu"] * 100, "% of a core", variant="idle_cpu", nodes=nodes)
        yield line("control_nodes", found["joins_per_s"], "1/s", variant="joins", nodes=nodes)
