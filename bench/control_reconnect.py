"""All nodes back after a restart of `waypost-control`: from the new process's start to the last node's full map."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

from bench.control_load import SIZES, Fleet, cpu_s, fleet
from bench.report import line

LIMIT_S = 600.0


async def measure(made: Fleet, nodes: int) -> tuple[float, float, float]:
    """Seconds to the first answer and to the last node; the new server's CPU seconds."""
    await made.start()
    await made.join(nodes)
    async with asyncio.TaskGroup() as tasks:
        streams = [tasks.create_task(node.stay()) for node in made.nodes]
        async with asyncio.timeout(LIMIT_S):
            await made.all_told()
        before = [node.connections for node in made.nodes]
        made.server.stop()
        started = time.monotonic()
        await made.start()
        up = time.monotonic() - started
        async with asyncio.timeout(LIMIT_S):
            while any(node.connections == former for node, former in zip(made.nodes, before, strict=True)):
                await asyncio.sleep(0.02)
        found = up, time.monotonic() - started, cpu_s(made.pid)
        for stream in streams:
            stream.cancel()
    for node in made.nodes:
        node.close()
    return found


def run(directory: Path) -> Iterator[str]:
    for nodes in SIZES:
        with fleet(directory / str(nodes), nodes) as made:
            up, last, cpu = asyncio.run(measure(made, nodes))
        yield line("control_reconnect", up, "s", variant="answers_again", nodes=nodes)
        yield line("control_reconnect", last, "s", variant="last_node_back", nodes=nodes)
        yield line("control_reconnect", cpu, "s", variant="cpu", nodes=nodes)
