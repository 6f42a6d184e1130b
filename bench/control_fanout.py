"""One node's change to the last of 200 nodes, all real map streams to a real `waypost-control` on loopback.

The simulated nodes (tests/lab/control_node.py) run in this process; its own decoding is part of the delay, as it is
of a real node's. CPU seconds are the server's, by /proc/PID/stat.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from appliance.proto.control import messages as wire
from bench.report import line
from tests.lab.control_node import ControlNode, server_key
from tests.lab.control_process import ControlProcess, free_port

NODES = 200
CHANGES = 60
WARM_UP = 5
LIMIT_S = 30.0


def cpu_s(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Board:
    """Who has seen the endpoint that is announced now."""

    wanted: str = ""
    seen: set[int] = field(default_factory=set)
    all_seen: asyncio.Event = field(default_factory=asyncio.Event)
    viewers: int = 0

    def announce(self, endpoint: str) -> None:
        self.wanted = endpoint
        self.seen.clear()
        self.all_seen.clear()

    def look(self, number: int, response: wire.MapResponse) -> None:
        endpoints = [patch.endpoints for patch in response.peers_changed_patch]
        endpoints += [node.endpoints for node in response.peers_changed]
        if any(entry and self.wanted in entry for entry in endpoints):
            self.seen.add(number)
            if len(self.seen) == self.viewers:
                self.all_seen.set()


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def measure(folder: Path) -> tuple[list[float], float]:
    """Seconds until the last viewer knew, per change; the server's CPU seconds for all of them."""
    server, board = ControlProcess(folder, free_port()), Board()
    await server.start()
    assert server.process is not None
    try:
        key, auth_key = await server_key("127.0.0.1", server.port), await server.pre_auth_key()
        nodes = [ControlNode("127.0.0.1", server.port, key, f"n{number}") for number in range(NODES)]
        for node in nodes:
            await node.connect()
            assert (await node.register(auth_key)).machine_authorized
        changer, viewers = nodes[0], nodes[1:]
        board.viewers = len(viewers)
        streams = asyncio.gather(
            *(viewer.follow(lambda response, n=n: board.look(n, response)) for n, viewer in enumerate(viewers))
        )
        try:
            return await change(changer, viewers, board, server.process.popen.pid)
        finally:
            streams.cancel()
            await asyncio.gather(streams, return_exceptions=True)
            for node in nodes:
                node.close()
    finally:
        server.stop()


async def change(changer: ControlNode, viewers: list[ControlNode], board: Board, pid: int) -> tuple[list[float], float]:
    async with asyncio.timeout(LIMIT_S):
        while any(len(viewer.netmap.peers) < NODES - 1 for viewer in viewers):
            await asyncio.sleep(0.01)
    delays: list[float] = []
    cpu = 0.0
    for number in range(WARM_UP + CHANGES):
        if number == WARM_UP:
            cpu = cpu_s(pid)
        endpoint = f"192.0.2.{number + 1}:41641"
        board.announce(endpoint)
        started = time.monotonic()
        await changer.update(endpoints=[endpoint], endpoint_types=[1])
        async with asyncio.timeout(LIMIT_S):
            await board.all_seen.wait()
        if number >= WARM_UP:
            delays.append(time.monotonic() - started)
    return delays, cpu_s(pid) - cpu


def run(directory: Path) -> Iterator[str]:
    directory.mkdir(parents=True, exist_ok=True)
    delays, cpu = asyncio.run(measure(directory))
    deliveries = len(delays) * (NODES - 1)
    for share, variant in ((0.5, "p50"), (0.99, "p99")):
        yield line(
            "control_fanout", percentile(delays, share) * 1e3, "ms", variant=variant, nodes=NODES, changes=len(delays)
        )
    yield line("control_fanout", cpu / deliveries * 1000, "s", variant="cpu_per_1000_deliveries", deliveries=deliveries)
