"""The plugin's resolver alone, on a port of 127.0.0.1, until its standard input ends.

python -m bench.dns_resolver PORT UPSTREAM_PORT
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time

import uvloop

from appliance.drivers.collector import calm_collector
from plugins.magicdns.forward import Forwarder
from plugins.magicdns.listen import Listener
from plugins.magicdns.resolver import Client, Resolver
from plugins.magicdns.routes import RouteTable
from plugins.magicdns.rules import LocalNames
from plugins.magicdns.transports import Transports
from plugins.magicdns.upstream import Kind, Upstream


async def nobody(name: str) -> tuple[str, ...]:
    raise AssertionError(name)


async def serve(port: int, upstream: int) -> None:
    resolver = Resolver(LocalNames(), Forwarder(Transports(nobody), time.monotonic), time.monotonic, time.time)
    resolver.set_routes(RouteTable({}, (Upstream(Kind.PLAIN, "127.0.0.1", upstream),)))
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    datagrams.bind(("127.0.0.1", port))
    stream = socket.create_server(("127.0.0.1", port))
    stream.setblocking(False)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    async with asyncio.TaskGroup() as group:
        work = [
            group.create_task(resolver.run()),
            group.create_task(Listener(datagrams, stream, resolver, lambda _source: Client.HOST).run()),
        ]
        print("ready", flush=True)
        await ended.wait()
        for task in work:
            task.cancel()


if __name__ == "__main__":
    calm_collector()  # as waypostd does
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
