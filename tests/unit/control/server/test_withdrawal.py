"""Taking access away reaches every peer at once: removal, expiry, a narrower policy, a revoked route."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.proto.control import messages as wire
from appliance.proto.control.delta import WireNetmap
from appliance.types.addresses import AddrPort
from control.server.app import RunningServer, running
from control.server.settings import ServerSettings
from control.service.actor import SYSTEM
from tests.lab.control_node import ConnectionEnded, ControlNode, server_key

pytestmark = [pytest.mark.timeout(60)]

PROMPT_S = 3.0
"""A tenth of a second on a free machine, most of it the wait for more of a burst; a busy one needs longer."""
PEERS = 12


@dataclass
class World:
    server: RunningServer
    nodes: dict[str, ControlNode] = field(default_factory=dict)

    async def join(self, name: str, tasks: asyncio.TaskGroup) -> ControlNode:
        port = self.server.port
        node = self.nodes[name] = ControlNode("127.0.0.1", port, await server_key("127.0.0.1", port), name)
        await node.connect()
        _, secret = await self.server.service.keys.create(SYSTEM, user="demo")
        assert (await node.register(secret)).machine_authorized
        tasks.create_task(follow(node))
        await node.until(lambda netmap: netmap.node is not None)
        return node

    def number(self, name: str) -> int:
        record = self.server.service.view().node_by_name(name)
        assert record is not None
        return record.id

    async def all(self, condition: Callable[[WireNetmap], bool], *, but: str) -> float:
        """Seconds until the condition held for every node but one."""
        others = [node for name, node in self.nodes.items() if name != but]
        async with asyncio.timeout(10):
            return max(await asyncio.gather(*(node.until(condition) for node in others)))


async def follow(node: ControlNode) -> None:
    with contextlib.suppress(ConnectionEnded):
        await node.follow(lambda response: None)


@asynccontextmanager
async def mesh(folder: Path) -> AsyncIterator[World]:
    settings = ServerSettings(
        data_dir=folder, listen=AddrPort("127.0.0.1", 0), derp_host=None, tls_fallback=None, domain="mesh.test"
    )
    async with running(settings) as server, asyncio.TaskGroup() as tasks:
        await server.service.users.create(SYSTEM, "demo")
        world = World(server)
        for number in range(PEERS):
            await world.join(f"n{number}", tasks)
        await world.all(lambda netmap: len(netmap.peers) == PEERS - 1, but="")
        yield world
        for node in world.nodes.values():
            node.close()


def is_past(text: str) -> bool:
    moment = wire.parse_time(text)
    return moment is not None and moment <= datetime.now(UTC)


async def test_ok__a_removed_node_leaves_every_peer(tmp_path: Path) -> None:
    async with mesh(tmp_path) as world:
        number = world.number("n0")
        removal, seen = await asyncio.gather(
            world.server.service.nodes.delete(SYSTEM, "n0"),
            world.all(lambda netmap: number not in netmap.peers, but="n0"),
        )
        assert removal.given_name == "n0"
        assert seen < PROMPT_S


async def test_ok__an_expired_key_is_told_to_every_peer_and_to_the_node(tmp_path: Path) -> None:
    async with mesh(tmp_path) as world:
        number = world.number("n0")
        _, seen = await asyncio.gather(
            world.server.service.nodes.expire(SYSTEM, "n0"),
            world.all(lambda netmap: is_past(netmap.peers[number].key_expiry), but="n0"),
        )
        assert seen < PROMPT_S
        own = world.nodes["n0"]
        await own.until(lambda netmap: netmap.node is not None and is_past(netmap.node.key_expiry))
        known = world.server.service.view().node_by_name("n0")
        assert known is not None
        assert not world.server.service.is_known(known.node_key)  # relays refuse it


async def test_ok__the_end_of_a_key_is_known_to_peers_beforehand(tmp_path: Path) -> None:
    async with mesh(tmp_path) as world:
        number = world.number("n0")
        soon = datetime.now(UTC) + timedelta(seconds=0.3)
        await world.server.service.nodes.expire(SYSTEM, "n0", soon)
        await world.all(lambda netmap: netmap.peers[number].key_expiry != "", but="n0")
        record = world.server.service.view().node_by_name("n0")
        assert record is not None
        while world.server.service.is_known(record.node_key):
            await asyncio.sleep(0.05)
        assert datetime.now(UTC) >= soon


async def test_ok__a_narrower_policy_hides_peers_and_closes_filters(tmp_path: Path) -> None:
    async with mesh(tmp_path) as world:
        record = world.server.service.view().node_by_name("n1")
        assert record is not None
        text = f'{{"acls": [{{"action": "accept", "src": ["{record.ipv4}"], "dst": ["*:22"]}}]}}'
        _, seen = await asyncio.gather(
            world.server.service.policies.set(SYSTEM, text),
            world.all(lambda netmap: set(netmap.peers) == {record.id}, but="n1"),
        )
        assert seen < PROMPT_S
        for name, node in world.nodes.items():
            rules = node.netmap.packet_filter()
            sources = {source for rule in rules for source in rule.src_ips}
            assert "*" not in sources
            assert (str(record.ipv4) in " ".join(sources)) or name == "n1"
        _, seen = await asyncio.gather(
            world.server.service.policies.set(SYSTEM, '{"acls": []}'),
            world.all(lambda netmap: not netmap.peers and not netmap.packet_filter(), but=""),
        )
        assert seen < PROMPT_S


async def test_ok__a_revoked_route_leaves_every_peer(tmp_path: Path) -> None:
    async with mesh(tmp_path) as world:
        number, route = world.number("n0"), "192.168.7.0/24"
        port = world.server.port
        router = world.nodes["n0"]
        teller = ControlNode(
            "127.0.0.1", port, router.key, "n0", machine=router.machine, node=router.node, routes=[route]
        )
        await teller.connect()
        await teller.update()
        await world.server.service.routes.approve(SYSTEM, "n0", [route])
        await world.all(lambda netmap: route in (netmap.peers[number].allowed_ips or ()), but="n0")
        _, seen = await asyncio.gather(
            world.server.service.routes.revoke(SYSTEM, "n0", [route]),
            world.all(lambda netmap: route not in (netmap.peers[number].allowed_ips or ()), but="n0"),
        )
        assert seen < PROMPT_S
        teller.close()


@pytest.mark.parametrize("name", ["n0"])
async def test_fail__a_removed_node_gets_nothing_more(tmp_path: Path, name: str) -> None:
    async with mesh(tmp_path) as world:
        node = world.nodes[name]
        await world.server.service.nodes.delete(SYSTEM, name)
        again = ControlNode("127.0.0.1", world.server.port, node.key, name, machine=node.machine, node=node.node)
        await again.connect()
        assert (await again.ask("POST", "/machine/map", again.map_request()))[0] == 404
        again.close()
