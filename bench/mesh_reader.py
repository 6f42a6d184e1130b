"""Reads one TCP stream through the mesh for some seconds; prints bits per second.

python -m bench.mesh_reader LOCALAPI HOST PORT SECONDS
"""

from __future__ import annotations

import asyncio
import sys
import time

from appliance.embed import Node

WARM_UP_S = 0.5


async def measure(localapi: str, host: str, port: int, seconds: float) -> float:
    async with Node(socket=localapi) as node:
        with await node.dial(host, port) as stream:
            stream.setblocking(True)
            return await asyncio.to_thread(_read, stream, seconds)


def _read(stream, seconds: float) -> float:
    buffer = bytearray(1 << 20)
    end_of_start = time.monotonic() + WARM_UP_S
    while time.monotonic() < end_of_start:
        stream.recv_into(buffer)
    started, count = time.monotonic(), 0
    while (now := time.monotonic()) - started < seconds:
        count += stream.recv_into(buffer)
    return count * 8 / (now - started)


if __name__ == "__main__":
    print(asyncio.run(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))))
