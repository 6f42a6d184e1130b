"""Time to bring a netmap of 1,000 and 10,000 peers to a real kernel, and a delta of one peer, part by part.

What a gateway does after its control client has the netmap: `overlay` (which peers, which routes), `engine`
(userspace), `router` (filter of a rule per peer compiled and loaded, addresses, routes, policy rules). All in
one network namespace, with a TUN device of its own. The delta adds a peer with its rule, or takes them away. `flows`:
the look for flows to end, which others do not wait for and which is not in the sum.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_network
from pathlib import Path

from appliance.daemon.overlay import OverlayPeers
from appliance.drivers.tun import open_tun
from appliance.drivers.udp import open_udp_ports
from appliance.engine.userspace.engine import UserspaceEngine
from appliance.ports.clock import SystemClock
from appliance.ports.engine import EngineDiff
from appliance.ports.randomness import SystemRandomness
from appliance.router.model import RouterModel
from appliance.types.ids import NodeId, StableNodeId
from appliance.types.keys import DiscoPublicKey, NodePrivateKey, NodePublicKey
from appliance.types.netmap import FilterRule, NetmapDiff, Node, PortRange
from bench.report import line, middle
from tests.lab.namespaces import Lab, Namespace
from tests.lab.router_host import Gateway, inside

SIZES = (1_000, 10_000)
DELTAS = 6
PARTS = ("overlay", "engine", "router", "flows")


def peer(number: int) -> Node:
    own = (
        ip_network(f"100.{64 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"),
        ip_network(f"fd7a:115c:a1e0::{number + 1:x}"),
    )
    key = number.to_bytes(4, "big") * 8
    return Node(
        id=NodeId(number + 1),
        stable_id=StableNodeId(f"n{number}"),
        name=f"peer{number}.mesh.",
        key=NodePublicKey(key),
        disco_key=DiscoPublicKey(key),
        addresses=own,
        allowed_ips=own,
    )


def rule(node: Node) -> FilterRule:
    """A machine and a port of its own for each peer: the largest filter that so many peers can ask for."""
    number = int(node.id)
    target = f"10.0.{number // 250 % 250}.{number % 250}"
    return FilterRule(
        tuple(str(prefix.network_address) for prefix in node.addresses), (PortRange(target, number, number),)
    )


class Node1:
    """The parts of one gateway, on real drivers."""

    def __init__(self, directory: Path) -> None:
        self.overlay = OverlayPeers()
        self.gateway = Gateway(directory / "router.json")
        self.tun = open_tun("waypost0", 1280)
        self.engine = UserspaceEngine(self.tun, open_udp_ports, SystemClock(), SystemRandomness())
        self.rules: dict[NodeId, FilterRule] = {}

    async def apply(self, diff: NetmapDiff) -> dict[str, float]:
        """Seconds by part."""
        for node in diff.changed.values():
            self.rules[node.id] = rule(node)
        for node_id in diff.removed:
            del self.rules[node_id]
        marks = [time.perf_counter()]
        engine_diff = self.overlay.apply(diff)
        model = RouterModel(
            addresses=(ip_network("100.127.0.1"), ip_network("fd7a:115c:a1e0:1::1")),
            routes=self.overlay.routes(),
            sources=self.overlay.sources(),
            jailed=self.overlay.jailed(),
            advertised=(ip_network("10.0.0.0/16"),),
            rules=tuple(self.rules.values()),
        )
        marks.append(time.perf_counter())
        await self.engine.apply(engine_diff)
        marks.append(time.perf_counter())
        await self.gateway.router.apply(model)
        marks.append(time.perf_counter())
        if diff.full or diff.removed:
            await self.gateway.router.end_flows()
        marks.append(time.perf_counter())
        parts = {name: marks[at + 1] - marks[at] for at, name in enumerate(PARTS)}
        return {"all": marks[-2] - marks[0], **parts}

    async def close(self) -> None:
        await self.gateway.router.close()
        await self.gateway.netlink.close()
        await self.engine.close()


async def measure(size: int, directory: Path) -> AsyncIterator[str]:
    made = Node1(directory)
    await made.engine.start()
    await made.engine.apply(EngineDiff(private_key=NodePrivateKey(bytes(31) + b"\x40")))
    nodes = {node.id: node for node in map(peer, range(size - 1))}
    yield report(size, "full", [await made.apply(NetmapDiff(full=True, changed=nodes))])
    extra = peer(size - 1)
    joins: list[dict[str, float]] = []
    leaves: list[dict[str, float]] = []
    for _ in range(DELTAS):
        joins.append(await made.apply(NetmapDiff(changed={extra.id: extra})))
        leaves.append(await made.apply(NetmapDiff(removed={extra.id: extra})))
    yield report(size, "one-peer-joins", joins)
    yield report(size, "one-peer-leaves", leaves)
    started = time.perf_counter()
    await made.close()
    yield line("netmap_apply", time.perf_counter() - started, "s", variant=f"{size}-peers-down")


def report(size: int, kind: str, found: list[dict[str, float]]) -> str:
    """The median of all, and of its parts."""
    unit, factor = ("s", 1.0) if kind == "full" else ("ms", 1e3)
    parts = {name: round(middle([each[name] for each in found]) * factor, 3) for name in PARTS}
    value = middle([each["all"] for each in found]) * factor
    return line("netmap_apply", value, unit, variant=f"{size}-peers-{kind}", **parts, runs=len(found))


def run(directory: Path) -> Iterator[str]:
    with Lab(directory / "logs") as lab:
        for size in SIZES:
            yield from collected(lab.namespace(f"gateway-{size}"), size, directory)


def collected(host: Namespace, size: int, directory: Path) -> list[str]:
    async def all_of() -> list[str]:
        return [text async for text in measure(size, directory)]

    with inside(host):
        return asyncio.run(all_of())
