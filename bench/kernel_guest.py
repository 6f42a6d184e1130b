"""What `bench.kernel_tcp` runs in its guest: TCP by two kernel engines and by two devices set up with `wg`, in turns.

a (engine) ---- veth ---- (engine) b      and in namespaces of their own, without our rules,      a (wg0) ---- (wg0) b
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import tempfile
import time
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

from appliance.ports.underlay import PeerPath
from bench.report import line, middle
from bench.round_trips import added, round_trips
from tests.lab.namespaces import Lab, LabError
from tests.qemu.guest.world import PORT, Node, World, ping, two_hosts, until

PAIRS = 45
RELAYED_RUNS = 5
LATENCY_RUNS = 4
SECONDS = 2


async def iperf(sender: Node, receiver: Node) -> float:
    """Gbit/s that the receiver got."""
    server = await asyncio.create_subprocess_exec(
        *receiver.host.enter, "iperf3", "--server", "--one-off", "--bind", receiver.v4, "--forceflush",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert server.stdout is not None
    while b"listening" not in (said := await server.stdout.readline()):
        if not said:
            raise LabError("iperf3 does not listen")
    client = await asyncio.create_subprocess_exec(
        *sender.host.enter, "iperf3", "--client", receiver.v4, "--time", str(SECONDS), "--omit", "1", "--json",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await client.communicate()
    await server.communicate()
    result = json.loads(output)
    if "end" not in result or "sum_received" not in result["end"]:
        raise LabError(f"iperf3: {result.get('error', 'no result')}")
    return float(result["end"]["sum_received"]["bits_per_second"]) / 1e9


def set_up_by_hand(node: Node, other: Node) -> None:
    node.host.ip("link add wg0 type wireguard")
    node.host.run(
        "wg",
        "setconf",
        "wg0",
        "/dev/stdin",
        stdin=f"[Interface]\nPrivateKey = {b64encode(node.private.reveal()).decode()}\nListenPort = {PORT}\n"
        f"[Peer]\nPublicKey = {b64encode(other.key.raw).decode()}\n"
        f"AllowedIPs = {other.v4}/32\nEndpoint = {other.addr}\n",
    )
    node.host.ip("link set wg0 up")
    node.host.ip(f"addr add {node.v4}/10 dev wg0")


def lower_bound(ratios: Sequence[float]) -> float:
    """Below the true median with 95 % certainty, whatever the distribution (order statistics, one-sided)."""
    rank, chance = 0, 0.0
    while (chance := chance + math.comb(len(ratios), rank) / 2 ** len(ratios)) <= 0.05:
        rank += 1
    if rank == 0:
        raise ValueError("five ratios at least")
    return sorted(ratios)[rank - 1]


def busy_s() -> float:
    """Seconds for which the guest's processors have worked, whoever for."""
    user, nice, system, _idle, _wait, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


async def compared(ours: World, plain: World, mtu: int) -> str:
    for world, device in ((ours, "waypost0"), (plain, "wg0")):
        for node in (world.a, world.b):
            node.host.ip(f"link set {device} mtu {mtu}")
    found: list[tuple[float, float]] = []
    costs: list[float] = []
    spent = 0.0
    for turn in range(PAIRS):
        rates: dict[bool, float] = {}
        busy: dict[bool, float] = {}
        for is_ours in (turn % 2 == 0, turn % 2 == 1):
            before, worked = time.process_time(), busy_s()
            world = ours if is_ours else plain
            rates[is_ours] = await iperf(world.a, world.b)
            busy[is_ours] = busy_s() - worked
            spent += time.process_time() - before if is_ours else 0.0
        found.append((rates[True], rates[False]))
        costs.append(busy[True] / rates[True] / (busy[False] / rates[False]))
    ratios = sorted(one / other for one, other in found)
    return line(
        "kernel_tcp",
        middle([one for one, _ in found]),
        "Gbit/s",
        variant=f"mtu{mtu}",
        peer="WireGuard configured by hand",
        peer_value=middle([other for _, other in found]),
        pairs=PAIRS,
        median_of_ratios=round(middle(ratios), 3),
        lower_95=round(lower_bound(ratios), 3),
        ratios=[round(ratio, 2) for ratio in ratios],
        engines_processor_s_per_run=round(spent / PAIRS, 2),
        processor_time_per_gbit_to_peer=round(middle(costs), 3),
    )


def received_packets(node: Node) -> int:
    """What the tunnel device took in."""
    shown = json.loads(node.host.run("ip", "-s", "-j", "link", "show", "waypost0"))
    return int(shown[0]["stats64"]["rx"]["packets"])


async def passing_the_process(ours: World) -> str:
    """Every way into the engine's process, counted by the kernel during one more stream."""
    nodes = (ours.a, ours.b)
    for node in nodes:
        assert node.engine._loopback is not None
        ports = f"{node.engine.inner_port}, {node.engine._loopback.port}"
        node.host.nft(
            "table inet proof { chain in { type filter hook input priority 0;"
            f" udp dport {{ {ports} }} counter; meta l4proto 99 counter; }}; }}"
        )
    before, relayed = sum(map(received_packets, nodes)), sum(node.sink.relayed for node in nodes)
    await iperf(*nodes)
    carried = sum(map(received_packets, nodes)) - before
    counted = 0
    for node in nodes:
        shown = json.loads(node.host.run("nft", "-j", "list", "table", "inet", "proof"))
        rules = [item["rule"]["expr"] for item in shown["nftables"] if "rule" in item]
        counted += sum(part["counter"]["packets"] for rule in rules for part in rule if "counter" in part)
        node.host.nft("delete table inet proof")
    counted += sum(node.sink.relayed for node in nodes) - relayed
    return line("kernel_tcp", counted, "packets through the process", variant="direct", carried_by_the_kernel=carried)


async def relayed(ours: World, direct: float) -> str:
    """Both engines and the relay between them are one process here."""
    for node, other in ((ours.a, ours.b), (ours.b, ours.a)):
        node.path(other, PeerPath(relay=True))
    rates = [await iperf(ours.a, ours.b) for _ in range(RELAYED_RUNS)]
    return line(
        "kernel_tcp", middle(rates), "Gbit/s", variant="relayed-mtu1280", peer="direct", peer_value=direct,
        runs=RELAYED_RUNS,
    )  # fmt: skip


async def latency(ours: World, plain: World) -> str:
    found: dict[str, list[float]] = {"kernel": [], "WireGuard configured by hand": [], "cable": []}
    for _ in range(LATENCY_RUNS):
        for kept, world, to in zip(
            found.values(), (ours, plain, plain), (ours.b.v4, plain.b.v4, plain.b.addr.ip), strict=True
        ):
            kept += await asyncio.to_thread(round_trips, world.a.host, to)
    return added("latency", "kernel", "WireGuard configured by hand", found)


async def measure(directory: Path) -> None:
    with Lab(directory / "ours") as one, Lab(directory / "plain") as two:
        ours, plain = World(two_hosts(one)), World(two_hosts(two))
        try:
            await ours.up()
            for world in (ours, plain):
                for node, other in ((world.a, world.b), (world.b, world.a)):
                    if world is ours:
                        node.path(other, PeerPath(direct=other.addr))
                    else:
                        set_up_by_hand(node, other)
            assert await ping(ours.a, ours.b.v4)
            assert await ping(plain.a, plain.b.v4)
            await until(lambda: bool(ours.a.sink.reports))
            print(await passing_the_process(ours), flush=True)
            print(await latency(ours, plain), flush=True)
            print(await compared(ours, plain, 1420), flush=True)
            print(await compared(ours, plain, 1280), flush=True)
            print(await relayed(ours, middle([await iperf(ours.a, ours.b) for _ in range(RELAYED_RUNS)])), flush=True)
        finally:
            await ours.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder)))
