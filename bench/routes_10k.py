"""10,000 routes of peers accepted by a gateway: time by part, and memory of a process that does nothing else.

100 peers offer 100 networks each. `netmap`: overlay and engine (userspace) learn of the peers; `choose`: the plugin
subnet_router judges their routes; `overlay`: which peer gets which; `engine` and `router` (table 52 of a real kernel)
take them over; `health`: the plugin looks for what is wrong. Then one peer takes a route back and offers it again, some
times over.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

from appliance.api import HostFacts, RouteSelection
from appliance.daemon.overlay import OverlayPeers
from appliance.drivers.tun import open_tun
from appliance.drivers.udp import open_udp_ports
from appliance.engine.userspace.engine import UserspaceEngine
from appliance.pluginhost.selections import SelectionMerger
from appliance.ports.clock import SystemClock
from appliance.ports.engine import EngineDiff
from appliance.ports.randomness import SystemRandomness
from appliance.router.model import RouterModel
from appliance.types.keys import NodePrivateKey
from appliance.types.netmap import NetmapDiff, Node
from bench.gateway_memory import pss_mib
from bench.netmap_apply import peer
from bench.report import line, middle
from plugins.subnet_router.config import SubnetRouterConfig
from plugins.subnet_router.hooks import SubnetRouter
from tests.lab.mesh import command
from tests.lab.namespaces import Lab, LabError
from tests.lab.router_host import Gateway

PEERS, EACH = 100, 100
DELTAS = 9
PARTS = ("netmap", "choose", "overlay", "engine", "router", "health")


def router_peer(number: int, count: int = EACH) -> Node:
    node = peer(number)
    routes = (ip_network(f"10.{number}.{each}.0/24") for each in range(count))
    return replace(node, allowed_ips=(*node.addresses, *routes))


class Conflicts:
    """There are none: one plugin judges."""

    def conflicts(self, _kind: str, found: Sequence[tuple[str, str, str]]) -> None:
        assert not found


class Taker:
    """The parts of one gateway, on real drivers."""

    def __init__(self, directory: Path) -> None:
        self.plugin = SubnetRouter()
        self.plugin.appliance_configure(SubnetRouterConfig(accept_routes=True))
        self.merger = SelectionMerger()
        self.overlay = OverlayPeers()
        self.gateway = Gateway(directory / "routes.json")
        self.engine = UserspaceEngine(open_tun("waypost0", 1280), open_udp_ports, SystemClock(), SystemRandomness())

    async def start(self) -> None:
        await self.engine.start()
        await self.engine.apply(EngineDiff(private_key=NodePrivateKey(bytes(31) + b"\x40")))

    async def take(self, diff: NetmapDiff) -> dict[str, float]:
        """Seconds by part."""
        marks = [time.perf_counter()]
        await self.engine.apply(self.overlay.apply(diff))
        marks.append(time.perf_counter())
        chosen = self._choose()
        marks.append(time.perf_counter())
        engine_diff = self.overlay.accept(chosen)
        model = RouterModel(
            addresses=(ip_network("100.127.0.1"), ip_network("fd7a:115c:a1e0:1::1")),
            routes=self.overlay.routes(),
            sources=self.overlay.sources(),
        )
        marks.append(time.perf_counter())
        await self.engine.apply(engine_diff)
        marks.append(time.perf_counter())
        await self.gateway.router.apply(model)
        marks.append(time.perf_counter())
        assert not self.plugin.appliance_check_health(HostFacts())
        marks.append(time.perf_counter())
        assert len(chosen.accepted) >= PEERS * EACH - 1
        return {name: marks[at + 1] - marks[at] for at, name in enumerate(PARTS)}

    def _choose(self) -> RouteSelection:
        offered = self.overlay.offered()
        judged = self.plugin.appliance_accept_routes(offered, ())
        return self.merger.merge([("subnet_router", judged)], offered, Conflicts())

    async def close(self) -> None:
        await self.gateway.router.close()
        await self.gateway.netlink.close()
        await self.engine.close()


async def measure(directory: Path) -> dict[str, object]:
    made = Taker(directory)
    await made.start()
    before = pss_mib(os.getpid())
    nodes = {node.id: node for node in map(router_peer, range(PEERS))}
    full = await made.take(NetmapDiff(full=True, changed=nodes))
    after = pss_mib(os.getpid())
    both = router_peer(PEERS - 1), router_peer(PEERS - 1, EACH - 1)
    found: tuple[list[dict[str, float]], ...] = [], []
    for _ in range(DELTAS):
        for (before_it, node), times in zip((both, both[::-1]), found, strict=True):
            times.append(await made.take(NetmapDiff(changed={node.id: node}, previous={node.id: before_it})))
    goes, comes = ({name: middle([each[name] for each in times]) for name in PARTS} for times in found)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    await made.close()
    return {"full": full, "goes": goes, "comes": comes, "mib": after - before, "peak_mib": peak}


def run(directory: Path) -> Iterator[str]:
    with Lab(directory / "logs") as lab:
        host = lab.namespace("gateway")
        result = command(host, sys.executable, "-m", "bench.routes_10k", str(directory), timeout_s=300)
        if result.code:
            raise LabError(f"routes_10k: {result.stderr[-500:]}")
        found = json.loads(result.stdout)
        for kind, unit, factor in (("full", "s", 1.0), ("goes", "ms", 1e3), ("comes", "ms", 1e3)):
            parts = {name: round(found[kind][name] * factor, 3) for name in PARTS}
            yield line("routes_10k", sum(parts.values()), unit, variant=kind, routes=PEERS * EACH, peers=PEERS, **parts)
        yield line("routes_10k", found["mib"], "MiB", variant="memory", peak_mib=round(found["peak_mib"], 1))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(Path(sys.argv[1])))))
