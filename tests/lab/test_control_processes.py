"""Two control processes on one PostgreSQL: killed, cut off from the database, and still one mesh.

Nodes know both processes, as behind a TCP balancer, and come back to the other one when theirs is gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from tests.lab.control_node import ConnectionEnded, ControlNode, server_key
from tests.lab.control_process import ControlProcess, free_port
from tests.lab.postgres import Postgres, running_postgres

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

BACK_OFF_S = 0.5
ENDED = (ConnectionEnded, OSError, aiohttp.ClientError)


@dataclass
class Follower:
    """A node that keeps a map stream open at one of the processes, the next one when it ends."""

    node: ControlNode
    ports: list[int]
    streams: int = 0
    open: bool = False

    async def join(self, auth_key: str) -> None:
        await self.node.connect()
        response = await self.node.register(auth_key)
        assert response.machine_authorized, response.error
        self.node.close()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.node.port = self.ports[0]
            with suppress(*ENDED):
                await self.node.connect()
                try:
                    self.streams += 1
                    await self.node.follow(lambda _: setattr(self, "open", True))
                finally:
                    self.node.close()
            self.open = False
            self.ports.append(self.ports.pop(0))
            await asyncio.sleep(BACK_OFF_S)

    def sees(self, name: str) -> bool:
        return any(peer.name.partition(".")[0] == name for peer in self.node.netmap.peers.values())

    def sees_online(self, name: str) -> bool:
        return any(
            peer.name.partition(".")[0] == name and peer.online is True for peer in self.node.netmap.peers.values()
        )


@dataclass
class World:
    """Two processes, two nodes at each."""

    database: Postgres
    servers: list[ControlProcess]
    followers: list[Follower] = field(default_factory=list)


async def until(condition: Callable[[], bool], what: str, limit_s: float = 20) -> float:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < limit_s, f"waited in vain for: {what}"
        await asyncio.sleep(0.01)
    return time.monotonic() - started


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    with running_postgres() as database:
        url = database.create()
        folders = [folder / "one", folder / "two"]
        for each in folders:
            each.mkdir()
        servers = [ControlProcess(folders[0], free_port(), ("--database", url))]
        await servers[0].start()
        noise = ("--noise-key", str(folders[0] / "noise.key"))
        servers.append(ControlProcess(folders[1], free_port(), ("--database", url, *noise)))
        await servers[1].start()
        built = World(database, servers)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(follower.run()) for follower in await _nodes(built)]
                await until(lambda: _all_meet(built), "every node to see every other online")
                try:
                    yield built
                finally:
                    for task in tasks:
                        task.cancel()
        finally:
            for server in servers:
                server.stop()


async def _nodes(built: World) -> list[Follower]:
    auth_key = await built.servers[0].pre_auth_key()
    key = await server_key("127.0.0.1", built.servers[0].port)
    for number in range(4):
        ports = [server.port for server in built.servers]
        if number % 2:
            ports.reverse()
        follower = Follower(ControlNode("127.0.0.1", ports[0], key, f"n{number}"), ports)
        await follower.join(auth_key)
        built.followers.append(follower)
    return built.followers


def _all_meet(built: World) -> bool:
    names = [follower.node.name for follower in built.followers]
    return all(
        follower.open and all(follower.sees_online(name) for name in names if name != follower.node.name)
        for follower in built.followers
    )


async def test_ok__one_of_two_is_killed(tmp_path: Path) -> None:
    async with world(tmp_path) as built:
        one, two = built.servers
        await one.admin("PATCH", "/v1/nodes/n0", {"name": "front"})
        took = await until(lambda: built.followers[1].sees("front"), "a change on one to reach a node on the other")
        print(f"\na change on one process reached a node on the other after {took * 1000:.0f} ms")
        built.followers[0].node.name = "front"
        one.kill()
        took = await until(lambda: all(f.open and f.ports[0] == two.port for f in built.followers), "all on the other")
        print(f"every node was served again {took:.1f} s after a process was killed")
        assert took < 5
        await until(lambda: _all_meet(built), "every node to see every other online again")
        await two.admin("PATCH", "/v1/nodes/n1", {"name": "back"})
        await until(lambda: built.followers[0].sees("back"), "a change after the kill")
        await one.start()
        listed = await one.admin("GET", "/v1/nodes")
        assert {node["name"] for node in listed} == {"front", "back", "n2", "n3"}


async def outage(tmp_path: Path, seconds: float) -> None:
    async with world(tmp_path) as built:
        one, two = built.servers
        streams = [follower.streams for follower in built.followers]
        built.database.stop()
        ended = time.monotonic() + seconds
        refused = 0
        while time.monotonic() < ended:
            for server in built.servers:
                status, answer = await server.ask("PATCH", "/v1/nodes/n0", {"name": "refused"})
                assert (status, answer["code"]) == (503, "database-away"), answer
                assert "try again" in answer["mend"]
                assert len(await server.admin("GET", "/v1/nodes")) == 4
                refused += 1
            await asyncio.sleep(0.1)
        assert all(follower.open for follower in built.followers)
        built.database.start()
        started = time.monotonic()
        while (await one.ask("PATCH", "/v1/nodes/n0", {"name": "front"}))[0] != 200:
            assert time.monotonic() - started < 15
            await asyncio.sleep(0.05)
        await until(lambda: built.followers[1].sees("front"), "a change to reach the other process again")
        took = time.monotonic() - started
        print(f"\ndatabase away for {seconds:g} s: {refused} changes refused, served again after {took:.1f} s")
        assert [follower.streams for follower in built.followers] == streams, "a node had to come back"
        assert not any(follower.sees("refused") for follower in built.followers)
        for server in (one, two):
            assert server.process is not None
            assert server.process.running
            assert "Traceback" not in server.process.output()


async def test_ok__the_database_is_away_for_a_while(tmp_path: Path) -> None:
    await outage(tmp_path, 5)


@pytest.mark.long
async def test_ok__the_database_is_away_for_thirty_seconds(tmp_path: Path) -> None:
    await outage(tmp_path, 30)
