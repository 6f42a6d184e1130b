"""Flows end with the rule that let them in, on a real kernel with real TCP.

    peer 100.64.0.2, .3 ── veth in the tunnel's place, waypost0 ── gateway ── lan0 192.168.10.1/24 ── host .5

Both ends of a flow are sockets of the test, opened inside their namespace.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import time
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from appliance.drivers.conntrack import LinuxConntrack, encode_tuple
from appliance.ports.conntrack import Flow
from appliance.router.model import RouterModel
from appliance.types.netmap import FilterRule, PortRange
from tests.lab.namespaces import Lab, Namespace
from tests.lab.router_host import Gateway, inside
from tests.lab.tcp_stream import stream

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]
FIRST, SECOND = "100.64.0.2", "100.64.0.3"
OWN, HOST = "100.64.0.1", "192.168.10.5"
FIRST6, OWN6 = "fd7a:115c:a1e0::2", "fd7a:115c:a1e0::1"
MARK, MASK = 0x40000, 0xFF0000


def rule(source: str, port: int = 7000) -> FilterRule:
    return FilterRule((source,), (PortRange("*", port, port),))


BOTH = (rule(FIRST), rule(SECOND), rule(FIRST6))
MODEL = RouterModel(
    addresses=(ip_network(OWN), ip_network(OWN6)),
    routes=(ip_network(FIRST), ip_network(SECOND), ip_network(FIRST6)),
    sources=(ip_network(FIRST), ip_network(SECOND), ip_network(FIRST6)),
    advertised=(ip_network("192.168.10.0/24"),),
    rules=BOTH,
)


@dataclass
class World:
    peer: Namespace
    gateway: Namespace
    host: Namespace


def card(host: Namespace, interface: str) -> str:
    """Its hardware address."""
    return str(json.loads(host.ip(f"-j link show {interface}"))[0]["address"])


@pytest.fixture
def world(lab: Lab) -> World:
    peer, gateway, host = (lab.namespace(f"wpwf-{name}") for name in ("peer", "gw", "host"))
    lab.cable(gateway, "waypost0", peer, "eth0")
    lab.cable(gateway, "lan0", host, "eth0")
    gateway.ip("addr add 192.168.10.1/24 dev lan0")
    for address in (FIRST, SECOND):
        peer.ip(f"addr add {address}/32 dev eth0")
    peer.ip(f"addr add {FIRST6}/128 dev eth0")
    peer.ip(f"route add {OWN} dev eth0")
    peer.ip(f"route add {OWN6} dev eth0")
    peer.ip(f"neigh add {OWN6} lladdr {card(gateway, 'waypost0')} dev eth0")  # a tunnel needs no discovery
    gateway.ip(f"neigh add {FIRST6} lladdr {card(peer, 'eth0')} dev waypost0")
    peer.ip(f"route add 192.168.10.0/24 via {OWN} dev eth0")
    host.ip(f"addr add {HOST}/24 dev eth0")
    host.ip("route add default via 192.168.10.1")
    return World(peer, gateway, host)


@pytest.fixture
async def gateway(world: World, tmp_path: Path):
    with inside(world.gateway):
        made = Gateway(tmp_path / "router.json")
        yield made
        await made.router.close()
        await made.netlink.close()


@pytest.mark.parametrize(
    ("source", "target", "snat"),
    [(FIRST, HOST, True), (FIRST, HOST, False), (FIRST, OWN, True), (FIRST6, OWN6, True)],
)
async def test_ok__a_transfer_ends_when_its_rule_is_withdrawn(world, gateway, source, target, snat):
    model = replace(MODEL, snat=snat)
    await gateway.apply(model)
    server = world.host if target == HOST else world.gateway
    with (
        stream(world.peer, source, server, target) as ending,
        stream(world.peer, SECOND, server, HOST if target == HOST else OWN) as other,
        stream(server, HOST if target == HOST else OWN, world.peer, FIRST, 8000) as ours,
    ):
        assert ending.moves(5)
        assert other.moves(5)
        assert ours.moves(5)
        await gateway.apply(replace(model, rules=(rule(SECOND),)))
        assert ending.stops()
        assert ending.server_was_reset()
        assert ending.stops()
        assert other.moves(5)
        assert ours.moves(5)
    await gateway.apply(model)
    with stream(world.peer, source, server, target) as again:
        assert again.moves(5)


@pytest.mark.parametrize(
    "change",
    [
        {"shields_up": True},
        {"jailed": (ip_network(FIRST),)},
        {"sources": (ip_network(SECOND),), "rules": (rule(SECOND),)},
        {"advertised": ()},
        {"rules": (rule(FIRST, 80),)},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_ok__every_way_to_lose_a_right_ends_flows(world, gateway, change):
    await gateway.apply(MODEL)
    with stream(world.peer, FIRST, world.host, HOST) as ending:
        assert ending.moves(5)
        await gateway.apply(replace(MODEL, **change))
        assert await LinuxConntrack().find(MARK, MASK, lambda flow: flow.protocol == 6) == []
        assert ending.stops()


async def test_ok__what_stays_open_is_not_touched(world, gateway):
    await gateway.apply(MODEL)
    with stream(world.peer, FIRST, world.host, HOST) as kept:
        assert kept.moves(5)
        wider = (FilterRule(("100.64.0.0/29",), (PortRange("192.168.10.0/24", 6999, 7001),)),)
        await gateway.apply(replace(MODEL, rules=wider))
        assert kept.moves(5)


async def test_ok__flows_that_outlived_their_rule_in_a_restart_end_too(world, gateway):
    await gateway.apply(MODEL)
    with stream(world.peer, FIRST, world.host, HOST) as ending:
        assert ending.moves(5)
        await gateway.router.close()
        await gateway.apply(replace(MODEL, rules=()))
        assert ending.stops()


async def test_ok__udp_and_pings_end_too(world, gateway):
    await gateway.apply(MODEL)
    with inside(world.host):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("0.0.0.0", 7000))
    with inside(world.peer):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.bind((FIRST, 0))
    with server, client:
        server.settimeout(5)
        client.sendto(b"one", (HOST, 7000))
        assert server.recv(10) == b"one"
        world.peer.run("ping", "-c", "1", "-W", "5", "-I", FIRST, HOST)
        found = await LinuxConntrack().find(MARK, MASK, lambda _flow: True)
        assert {flow.protocol for flow in found} == {1, 17}
        await gateway.apply(replace(MODEL, rules=()))
        assert await LinuxConntrack().find(MARK, MASK, lambda _flow: True) == []
        client.sendto(b"two", (HOST, 7000))
        assert not select.select([server], [], [], 0.3)[0]


def plant(flows: list[Flow], mark: int) -> None:
    """Put flows into this thread's flow table, as if packets had made them."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as sock:
        sock.settimeout(10)
        for start in range(0, len(flows), 300):
            batch = b""
            for flow in flows[start : start + 300]:
                back = flow._replace(source=flow.destination, destination=flow.source)
                back = back._replace(source_port=flow.destination_port, destination_port=flow.source_port)
                body = struct.pack(">BBH", 2, 0, 0) + attribute(0x8001, encode_tuple(flow))
                body += attribute(0x8002, encode_tuple(back)) + attribute(3, struct.pack(">I", 8))
                body += attribute(7, struct.pack(">I", 600)) + attribute(8, struct.pack(">I", mark))
                last = len(batch) == 0
                batch += struct.pack("=IHHII", 16 + len(body), 0x100, 0x401 | (4 if last else 0), 1, 0) + body
            sock.send(batch)
            assert struct.unpack_from("=i", sock.recv(4096), 16)[0] == 0


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


async def test_ok__a_hundred_thousand_flows_of_others_cost_little(world, gateway):
    """The host's own flows are not even listed, and of the mesh's only what lost its right goes."""
    world.gateway.sysctl("net.netfilter.nf_conntrack_max", 262144)
    await gateway.apply(MODEL)
    base, target = int(ip_network("10.0.0.0/8").network_address), int(ip_network(HOST).network_address)
    plant([Flow(4, 17, base + number, target, 1000, 53) for number in range(100_000)], 0)
    kept, ending = (int(ip_network(text).network_address) for text in (SECOND, FIRST))
    plant([Flow(4, 17, kept, target, number, 7000) for number in range(1, 5001)], MARK)
    plant([Flow(4, 17, ending, target, number, 7000) for number in range(1, 1001)], MARK)
    listed: list[Flow] = []
    assert await LinuxConntrack().find(MARK, MASK, lambda flow: listed.append(flow) or False) == []
    assert len(listed) == 6000
    started = time.monotonic()
    await gateway.apply(replace(MODEL, rules=(rule(SECOND),)))
    taken = time.monotonic() - started
    left = await LinuxConntrack().find(MARK, MASK, lambda _flow: True)
    assert {flow.source for flow in left} == {kept}
    assert len(left) == 5000
    assert len(await LinuxConntrack().find(0, MASK, lambda _flow: True)) >= 100_000
    print(f"{taken:.2f} s")
    assert taken < 5
