"""What the packet filter costs at 1, 1,000 and 10,000 rules, against no filter at all, interleaved, in one run.

peer ---- waypost0 (gateway) lan0 ---- host

`new-flow`: a packet that opens a flow, written into a TUN device; the write returns when the kernel has dealt with it.
The filter looks up its source and destination; behind it a blackhole route ends every packet, so none is ever known.
`tcp-stream`: one iperf3 stream through a cable in the tunnel's place; its packets belong to a known flow.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

from appliance.drivers.nftables import NftFirewall
from appliance.ports.firewall import render_create, render_delete
from appliance.router.model import TABLE_FAMILY, TABLE_NAME, RouterModel
from appliance.router.ruleset import compile_filter, render_table
from appliance.types.netmap import FilterRule, PortRange
from bench.report import line, middle
from tests.lab.mesh import command
from tests.lab.namespaces import Lab, LabError, Namespace
from tests.lab.raw_packets import udp
from tests.lab.router_host import Tunnel, inside

SIZES = (0, 1, 1_000, 10_000)
"""0: no table."""
RUNS = 7
PACKETS = 20_000
STREAM_RUNS = 3
STREAM_S = 2
PEER, HOST = "100.64.0.2", "192.168.10.5"
PORT = 7000


def source(number: int) -> str:
    return f"100.{65 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"


def target(number: int) -> str:
    return f"10.0.{number // 250 % 250}.{number % 250 + 1}"


def model(size: int) -> RouterModel:
    """Every rule is of a peer of its own with a host and a port of its own; one more lets the stream through."""
    rules = [FilterRule((source(n),), (PortRange(target(n), 1000 + n, 1000 + n),)) for n in range(size - 1)]
    return RouterModel(
        addresses=(ip_network("100.64.0.1/32"),),
        advertised=(ip_network("10.0.0.0/8"), ip_network("192.168.10.0/24")),
        rules=(FilterRule((PEER,), (PortRange("*"),)), *rules),
    )


def table(size: int) -> str:
    """nft document; without a table for size 0."""
    if not size:
        return render_delete(TABLE_FAMILY, TABLE_NAME)
    wanted = model(size)
    return render_create(render_table(wanted, compile_filter(wanted)))


def packets(size: int) -> list[bytes]:
    """Of peers whose rule lets them pass, at random among all rules."""
    chance = random.Random(1)
    numbers = [chance.randrange(max(1, size - 1)) for _ in range(2000)]
    if size < 2:
        return [udp(PEER, target(number), 5, 1000) for number in numbers]
    return [udp(source(number), target(number), 5, 1000 + number) for number in numbers]


def new_flow_us(tunnel: Tunnel, made: list[bytes]) -> float:
    write, fd = os.write, tunnel.fd
    rounds = PACKETS // len(made)
    started = time.perf_counter()
    for _ in range(rounds):
        for packet in made:
            write(fd, packet)
    return (time.perf_counter() - started) / (rounds * len(made)) * 1e6


def new_flows(lab: Lab) -> Iterator[str]:
    host = lab.namespace("gateway")
    documents = {size: table(size) for size in SIZES}
    made = {size: packets(size) for size in SIZES}
    found: dict[int, list[float]] = {size: [] for size in SIZES}
    with inside(host):
        tunnel = Tunnel()
        host.ip("link set waypost0 up")
        host.ip("route add blackhole 10.0.0.0/8")
        host.sysctl("net.ipv4.ip_forward", 1)
        for variable in ("all", "waypost0"):
            host.sysctl(f"net.ipv4.conf.{variable}.rp_filter", 0)
        for _ in range(RUNS):
            for size in SIZES:
                asyncio.run(NftFirewall().apply(documents[size]))
                found[size].append(new_flow_us(tunnel, made[size]))
        tunnel.close()
    yield from report(found, "us per packet", "new-flow")


def stream_gbit_s(peer: Namespace, host: Namespace) -> float:
    server = host.start("iperf3", "iperf3", "--server", "--one-off", "--forceflush", "--port", str(PORT))
    server.wait_for_output("listening")
    result = command(peer, "iperf3", "--client", HOST, "--port", str(PORT), "--time", str(STREAM_S), "--json")
    server.stop()
    server.log.unlink()
    if result.code:
        raise LabError(f"iperf3: {(result.stderr or result.stdout)[-300:]}")
    return float(json.loads(result.stdout)["end"]["sum_received"]["bits_per_second"]) / 1e9


def streams(lab: Lab) -> Iterator[str]:
    peer, gateway, host = (lab.namespace(name) for name in ("peer", "router", "host"))
    lab.cable(gateway, "waypost0", peer, "eth0")
    lab.cable(gateway, "lan0", host, "eth0")
    gateway.ip("addr add 100.64.0.1/24 dev waypost0")
    gateway.ip("addr add 192.168.10.1/24 dev lan0")
    gateway.sysctl("net.ipv4.ip_forward", 1)
    peer.ip(f"addr add {PEER}/24 dev eth0")
    peer.ip("route add default via 100.64.0.1")
    host.ip(f"addr add {HOST}/24 dev eth0")
    host.ip("route add default via 192.168.10.1")
    documents = {size: table(size) for size in SIZES}
    found: dict[int, list[float]] = {size: [] for size in SIZES}
    for _ in range(STREAM_RUNS):
        for size in SIZES:
            with inside(gateway):
                asyncio.run(NftFirewall().apply(documents[size]))
            found[size].append(stream_gbit_s(peer, host))
    yield from report(found, "Gbit/s", "tcp-stream")


def report(found: dict[int, list[float]], unit: str, kind: str) -> Iterator[str]:
    without = middle(found[0])
    for size in SIZES[1:]:
        yield line(
            "filter_rules",
            middle(found[size]),
            unit,
            variant=f"{kind}-{size}-rules",
            peer="no filter",
            peer_value=without,
            runs=len(found[size]),
        )


def run(directory: Path) -> Iterator[str]:
    with Lab(directory / "logs") as lab:
        yield from new_flows(lab)
        yield from streams(lab)
