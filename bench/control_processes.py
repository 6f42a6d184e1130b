"""The same load on one and on two `waypost-control` processes over one PostgreSQL.

Each node of a group is at the next process, as behind a balancer, so that half of what a change means crosses the
database's channel. Delays are those of `control_fanout`. The servers share the cores that are not the nodes': on a
machine of two cores two processes cannot be quicker than one, and the figures show what the second one costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.control_fanout import LIMIT_S, change, percentile
from bench.control_load import FULL, Fleet, resident_kib, shared_fleet
from bench.report import line

NODES = 1000 if FULL else 300
SETTLE_S = 3.0


@dataclass(frozen=True, slots=True)
class Found:
    """`cpu` and `memory_kib` are those of each process; `cpu` seconds of all changes, the first few too."""

    delays: list[float]
    viewers: int
    cpu: list[float]
    memory_kib: list[int]
    joins_per_s: float


async def measure(made: Fleet, nodes: int) -> Found:
    await made.start()
    await made.join(nodes)
    async with asyncio.TaskGroup() as tasks:
        streams = [tasks.create_task(node.stay()) for node in made.nodes]
        async with asyncio.timeout(10 * LIMIT_S):
            await made.all_told()
        await asyncio.sleep(SETTLE_S)
        before = made.cpu_of_each()
        delays, _, viewers = await change(made)
        cpu = [after - former for after, former in zip(made.cpu_of_each(), before, strict=True)]
        found = Found(delays, viewers, cpu, [resident_kib(pid) for pid in made.pids], nodes / made.joined_s)
        for stream in streams:
            stream.cancel()
    for node in made.nodes:
        node.close()
    return found


def run(directory: Path) -> Iterator[str]:
    for processes in (1, 2):
        with shared_fleet(directory / str(processes), NODES, processes) as made:
            found = asyncio.run(measure(made, NODES))
        for share, variant in ((0.5, "p50"), (0.99, "p99")):
            yield _line(processes, variant, percentile(found.delays, share) * 1e3, "ms", peers=found.viewers)
        yield _line(processes, "cpu", sum(found.cpu), "s")
        yield _line(processes, "cpu_of_the_busiest", max(found.cpu), "s")
        yield _line(processes, "memory", sum(found.memory_kib) / 1024, "MiB")
        yield _line(processes, "joins", found.joins_per_s, "1/s")


def _line(processes: int, variant: str, value: float, unit: str, **more: int) -> str:
    return line("control_processes", value, unit, variant=variant, processes=processes, nodes=NODES, **more)
