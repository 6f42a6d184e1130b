"""The control server killed mid-write, again and again, while nodes register and change things.

What it acknowledged it still knows after every restart: each node with its key and addresses, each new name, and no
address twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest

from tests.lab.control_node import ConnectionEnded, ControlNode, server_key
from tests.lab.control_process import ControlProcess, free_port

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

WORKERS = 6
ENDED = (ConnectionEnded, OSError, aiohttp.ClientError)


@dataclass
class Known:
    """What the server acknowledged of one node. `names`, `routes`: the last acknowledged value, and one under way."""

    addresses: list[str]
    names: set[str]
    routes: set[str] = field(default_factory=lambda: {""})


@dataclass
class Witness:
    """Remembers every acknowledgement by node key."""

    nodes: dict[str, Known] = field(default_factory=dict)
    changes: int = 0

    def check(self, listed: list[dict[str, Any]]) -> None:
        by_key = {entry["node_key"]: entry for entry in listed}
        assert len(by_key) == len(listed)
        every = [address for entry in listed for address in entry["addresses"]]
        assert len(every) == len(set(every)), "an address was given twice"
        for key, known in self.nodes.items():
            entry = by_key[key]
            assert entry["addresses"] == known.addresses
            assert entry["name"] in known.names
            route = "".join(entry["advertised_routes"])
            assert route in known.routes
            known.names, known.routes = {entry["name"]}, {route}


async def one_node(server: ControlProcess, node: ControlNode, auth_key: str, witness: Witness, name: str) -> None:
    """Join, then change routes and name; note each acknowledgement at once."""
    await node.connect()
    try:
        response = await node.register(auth_key)
        assert response.machine_authorized, response.error
        own = (await node.map_once()).node
        assert own is not None
        addresses = [address.partition("/")[0] for address in own.addresses]
        known = witness.nodes[node.node_key] = Known(addresses, {own.name.partition(".")[0]})
        for number in (1, 2):
            node.routes = [f"192.168.{number}.0/24"]
            known.routes.add(node.routes[0])
            await node.update()
            known.routes = set(node.routes)
            witness.changes += 1
        (old,) = known.names
        known.names.add(f"{name}-renamed")
        await server.admin("PATCH", f"/v1/nodes/{old}", {"name": f"{name}-renamed"})
        known.names = {f"{name}-renamed"}
        witness.changes += 1
    finally:
        node.close()


async def worker(server: ControlProcess, auth_key: str, witness: Witness, label: str) -> None:
    """Node after node until the server is gone."""
    with contextlib.suppress(*ENDED):
        key = await server_key("127.0.0.1", server.port)
        for number in range(1000):
            name = f"{label}-{number}"
            await one_node(server, ControlNode("127.0.0.1", server.port, key, name), auth_key, witness, name)


async def life(server: ControlProcess, auth_key: str, witness: Witness, round_number: int, random: Random) -> None:
    """From a start to a kill -9 at a random moment of full work."""
    goal = witness.changes + len(witness.nodes) + random.randrange(1, 50)
    tasks = [
        asyncio.ensure_future(worker(server, auth_key, witness, f"r{round_number}w{number}"))
        for number in range(WORKERS)
    ]
    while witness.changes + len(witness.nodes) < goal:
        await asyncio.sleep(0.001)
    await asyncio.sleep(random.random() * 0.03)
    server.kill()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


async def hold(folder: Path, database: str, kills: int) -> None:
    random = Random(kills)
    server, witness = ControlProcess(folder, free_port(), ("--database", database)), Witness()
    await server.start()
    try:
        auth_key = await server.pre_auth_key()
        for number in range(kills):
            await life(server, auth_key, witness, number, random)
            await server.start()
            witness.check(await server.admin("GET", "/v1/nodes"))
    finally:
        server.stop()
    print(f"\n{kills} kills: {len(witness.nodes)} nodes and {witness.changes} changes acknowledged, all held")
    assert len(witness.nodes) > kills


async def test_ok__killed_mid_write_keeps_what_it_acknowledged(tmp_path: Path, database_text: str) -> None:
    await hold(tmp_path, database_text, 2)


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_ok__killed_mid_write_a_hundred_times(tmp_path: Path, database_text: str) -> None:
    await hold(tmp_path, database_text, 100)
