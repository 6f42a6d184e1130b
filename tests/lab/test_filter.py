"""The packet filter on a real kernel: the test writes packets into the TUN device and sees which get past."""

from __future__ import annotations

import json
import os
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import NamedTuple

import pytest

from appliance.drivers.nftables import NftFirewall
from appliance.ports.conntrack import Flow
from appliance.router.explain import Packet, explain
from appliance.router.flows import Openings
from appliance.router.model import RouterModel
from appliance.router.ruleset import compile_filter
from appliance.types.errors import PrivilegeError
from appliance.types.netmap import FilterRule, PortRange
from tests.lab.filter_cases import FILTER, made, naive, random_model, random_packet
from tests.lab.namespaces import Lab, Namespace
from tests.lab.raw_packets import ACK, ICMP, ICMPV6, echo_request, ip_packet, tcp, udp
from tests.lab.router_host import Gateway, Tunnel, inside

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]
PEER = "100.64.0.2"
PROBE = """table inet probe {
    set seen4 { typeof ip id; flags dynamic; size 65535; }
    set seen6 { typeof ip6 flowlabel; flags dynamic; size 65535; }
    chain after { type filter hook prerouting priority -105;
        iifname "waypost0" meta nfproto ipv4 add @seen4 { ip id }
        iifname "waypost0" meta nfproto ipv6 add @seen6 { ip6 flowlabel }
    }
}"""


class Bench(NamedTuple):
    """One gateway's host."""

    host: Namespace
    tunnel: Tunnel
    gateway: Gateway

    def passed(self) -> set[int]:
        """Numbers of the packets that the filter let through."""
        numbers: set[int] = set()
        for name in ("seen4", "seen6"):
            listed = json.loads(self.host.run("nft", "-j", "list", "set", "inet", "probe", name))
            numbers.update(next(item["set"] for item in listed["nftables"] if "set" in item).get("elem", []))
        return numbers


@pytest.fixture
async def bench(lab: Lab, tmp_path: Path) -> AsyncIterator[Bench]:
    """The test's thread is inside the gateway's namespace."""
    host = lab.namespace("wpfi-gw")
    host.nft(PROBE)
    with inside(host):
        tunnel = Tunnel()
        gateway = Gateway(tmp_path / "router.json")
        yield Bench(host, tunnel, gateway)
        await gateway.router.close()
        await gateway.netlink.close()
        tunnel.close()


async def compare(bench: Bench, chance: random.Random, rounds: int, most_rules: int) -> tuple[int, int]:
    """Random models and packets; the kernel, `explain` and `Openings` must agree with the naive reading."""
    number, accepted, refused = 1000, 0, 0
    model = random_model(chance, most_rules)
    for _ in range(rounds):
        other = random_model(chance, most_rules)
        model = other if chance.random() < 0.5 else nearly(chance, model, other)
        await bench.gateway.apply(model)
        openings = Openings(model, compile_filter(model))
        sent: dict[int, Packet] = {}
        for _ in range(80):
            number += 1
            sent[number] = random_packet(chance)
            bench.tunnel.put(made(sent[number], number))
        passed = bench.passed()
        for key, packet in sent.items():
            expected = naive(model, packet)
            assert (key in passed) == expected, f"{packet}: {model}"
            assert explain(model, packet).accepted == expected, f"{packet}: {model}"
            assert openings.allow(flow_of(packet)) == expected, f"{packet}: {model}"
            accepted, refused = accepted + expected, refused + (not expected)
    return accepted, refused


def nearly(chance: random.Random, model: RouterModel, other: RouterModel) -> RouterModel:
    """The model with a rule or two of another one, and without as many of its own."""
    kept = [rule for rule in model.rules if chance.random() > 2 / (len(model.rules) + 1)]
    for rule in other.rules[: chance.randrange(3)]:
        kept.insert(chance.randrange(len(kept) + 1), rule)
    return replace(model, rules=tuple(kept))


def flow_of(packet: Packet) -> Flow:
    icmp = packet.icmp_type if packet.protocol in (ICMP, ICMPV6) else -1
    addresses = int(packet.source), int(packet.destination)
    return Flow(packet.source.version, packet.protocol, *addresses, 1, packet.port, icmp)


async def test_ok__verdicts_equal_a_naive_reading_of_the_rules(bench):
    seed = int(os.environ.get("WAYPOST_SEED", "0")) or random.randrange(1, 2**32)
    print("seed", seed)
    accepted, refused = await compare(bench, random.Random(seed), 30, 40)
    assert accepted > 100
    assert refused > 100


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(4))
async def test_ok__verdicts_of_many_and_large_rule_sets(bench, seed):
    accepted, refused = await compare(bench, random.Random(seed), 150, 400)
    assert accepted > 1000
    assert refused > 1000


async def test_ok__only_flows_that_are_known_go_without_a_rule(bench):
    """A TCP segment in mid-flow opens nothing."""
    await bench.gateway.apply(replace(FILTER, rules=()))
    bench.tunnel.put(tcp(PEER, "100.64.0.1", 1, 80, flags=ACK, number=1))
    bench.tunnel.put(echo_request(PEER, "100.64.0.1", 2, number=2))
    bench.tunnel.put(ip_packet(PEER, "100.64.0.1", ICMP, bytes.fromhex("0000ffff00000000"), 3))
    assert bench.passed() == {3}


HASHED_SETS = """add table inet one
add chain inet one here
add chain inet one there
add set inet one v4 { type ipv4_addr . ipv4_addr . inet_proto . inet_service;  }
add set inet one v6 { type ipv6_addr . ipv6_addr . inet_proto;  }
add map inet one sources { type ipv4_addr : verdict;  }
add set inet one ranges { type ipv4_addr; flags interval; }
add element inet one v4 { 100.64.0.1 . 10.0.0.1 . 6 . 80, 100.64.0.2 . 10.0.0.1 . 17 . 53 }
add element inet one sources { 100.64.0.1 : jump here, 100.64.0.2 : jump here }
"""


async def test_ok__single_elements_go_to_the_kernel_itself(bench, monkeypatch):
    """Without the program, in one transaction each; more than that, and what the kernel refuses, is left to it."""
    firewall = NftFirewall()
    await firewall.apply(HASHED_SETS)
    monkeypatch.setattr(firewall, "_program", "/nonexistent/nft")
    await firewall.apply(
        "delete element inet one v4 { 100.64.0.1 . 10.0.0.1 . 6 . 80 }\n"
        "add element inet one v4 { 100.64.0.3 . 10.0.0.1 . 6 . 443, 100.64.0.3 . 10.0.0.1 . 17 . 443 }\n"
        "add element inet one v6 { fd7a:115c:a1e0::1 . fd00::1 . 47 }\n"
        "delete element inet one sources { 100.64.0.1, 100.64.0.2 }\n"
        "add element inet one sources { 100.64.0.2 : jump there }\n"
    )
    for left in (
        "add element inet one v4 { 100.64.0.4 . 10.0.0.1 . 6 . 80 }\nadd element inet one ranges { 100.64.0.1 }\n",
        "add element inet one v4 { 100.64.0.5 . 10.0.0.1 . 6 . 80 }\n"
        "delete element inet one v4 { 100.64.0.9 . 10.0.0.1 . 6 . 1 }\n",
        "add element inet one sources { 100.64.0.6 : jump nowhere }\n",
        "add element inet one v4 { 100.64.0.7 . 10.0.0.0/24 . 6 . 80 }\n",
        "add element inet one nosuch { 100.64.0.8 }\n",
    ):
        with pytest.raises(PrivilegeError):
            await firewall.apply(left)
    listed = json.loads(bench.host.run("nft", "-j", "list", "table", "inet", "one"))["nftables"]
    held = {
        item[word]["name"]: item[word].get("elem", []) for item in listed for word in ("set", "map") if word in item
    }
    assert sorted(map(str, (element["concat"] for element in held["v4"]))) == [
        "['100.64.0.2', '10.0.0.1', 'udp', 53]",
        "['100.64.0.3', '10.0.0.1', 'tcp', 443]",
        "['100.64.0.3', '10.0.0.1', 'udp', 443]",
    ]
    assert [element["concat"] for element in held["v6"]] == [["fd7a:115c:a1e0::1", "fd00::1", "gre"]]
    assert held["sources"] == [["100.64.0.2", {"jump": {"target": "there"}}]]
    assert held["ranges"] == []


async def test_ok__ten_thousand_rules(bench):
    rules = tuple(
        FilterRule((f"100.64.{i // 200}.{i % 200}",), (PortRange(f"10.0.0.{i % 250}", 1 + i, 5 + i),))
        for i in range(10_000)
    )
    model: RouterModel = replace(FILTER, routes=(ip_network("100.64.0.0/10"),), rules=rules)
    await bench.gateway.apply(model)
    listed = bench.host.run("nft", "-t", "list", "table", "inet", "waypost")
    assert len(listed.splitlines()) < 220, "lookups, not a list of rules"
    bench.tunnel.put(udp("100.64.49.199", "10.0.0.249", 5, 10_000, number=1))
    bench.tunnel.put(udp("100.64.49.199", "10.0.0.249", 6, 9_999, number=2))
    bench.tunnel.put(udp("100.64.49.199", "10.0.0.249", 7, 9_998 + 10, number=3))
    assert bench.passed() == {1}
