"""The router on a real kernel.

    peers ── TUN waypost0 ── gateway (router) ── lan0 192.168.10.1/24, fd10::1/64 ── host .5
                                              └─ wan0 203.0.113.2/24 (default route)

The test plays the peers: it writes packets into the TUN device and reads what comes out.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import select
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from appliance.drivers.links import LinkMonitor
from appliance.drivers.streams import BYPASS_MARK, SocketDialer
from appliance.ports.netlink import NetlinkError
from appliance.router.explain import Packet, explain
from appliance.router.model import ForeignMode, RouterModel
from appliance.router.service import RouterError
from appliance.types.addresses import AddrPort
from appliance.types.events import LinkChanged
from appliance.types.netmap import FilterRule, PortRange
from tests.lab.namespaces import Lab, Namespace
from tests.lab.raw_packets import (
    ACK,
    ICMP,
    ICMPV6,
    SYN,
    TCP,
    UDP,
    addresses,
    echo_request,
    ip_packet,
    mss_of,
    tcp,
    udp,
    upper,
)
from tests.lab.router_host import Gateway, Tunnel, inside, snapshot
from tests.lab.router_program import MODEL

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]
ROOT = Path(__file__).resolve().parents[2]
DOCKER = """table ip filter {
    chain FORWARD { type filter hook forward priority 0; policy drop;
    }
}
"""
FIREWALLD = """table inet firewalld {
    chain filter_INPUT { type filter hook input priority 10;
        tcp dport 22 accept
        reject
    }
}
"""
PEER, HOST = "100.64.0.2", "192.168.10.5"


@dataclass
class Site:
    gateway: Namespace
    host: Namespace
    journal: Path


@pytest.fixture
def site(lab: Lab, tmp_path: Path) -> Site:
    gateway, host, wan = (lab.namespace(f"wprt-{name}") for name in ("gw", "host", "wan"))
    lab.cable(gateway, "lan0", host, "eth0")
    lab.cable(gateway, "wan0", wan, "eth0")
    gateway.ip("addr add 192.168.10.1/24 dev lan0")
    gateway.ip("addr add fd10::1/64 dev lan0")
    gateway.ip("addr add 203.0.113.2/24 dev wan0")
    gateway.ip("route add default via 203.0.113.1")
    gateway.sysctl("net.ipv4.conf.wan0.rp_filter", 1)
    gateway.sysctl("net.ipv4.conf.wan0.forwarding", 1)  # settings that a switch of forwarding would sweep away
    gateway.sysctl("net.ipv6.conf.lan0.forwarding", 1)
    gateway.sysctl("net.ipv4.conf.all.accept_redirects", 0)
    host.ip(f"addr add {HOST}/24 dev eth0")
    host.ip("route add default via 192.168.10.1")
    return Site(gateway, host, tmp_path / "router.json")


@pytest.fixture
def tunnel(site: Site) -> Iterator[Tunnel]:
    """The test's thread is inside the gateway from here on."""
    with inside(site.gateway):
        device = Tunnel()
        yield device
        device.close()


@pytest.fixture
async def gateway(site: Site, tunnel: Tunnel):
    made = Gateway(site.journal)
    yield made
    await made.router.close()
    await made.netlink.close()


def listen(host: Namespace, port: int) -> socket.socket:
    with inside(host):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("0.0.0.0", port))
        sock.settimeout(5)
        return sock


def arrives(sock: socket.socket, timeout_s: float) -> tuple[bytes, tuple[str, int]] | None:
    if not select.select([sock], [], [], timeout_s)[0]:
        return None
    data, source = sock.recvfrom(2048)
    return data, source


async def test_ok__close_leaves_the_host_as_it_was(site, gateway):
    site.gateway.nft(DOCKER)
    before = snapshot(site.gateway)
    await gateway.router.apply(MODEL)
    during = snapshot(site.gateway)
    assert all(during[part] != before[part] for part in before), "every part is touched, else this proves nothing"
    assert "throw 10.1.0.0/16" in during["-4 route show table all"]
    assert "5270:\tfrom all lookup 52" in during["-6 rule"]
    await gateway.router.apply(replace(MODEL, routes=MODEL.routes[:1], local_routes=(), rules=(), advertised=()))
    await gateway.router.apply(MODEL)
    again = snapshot(site.gateway)
    assert {part: text.replace(" metric 1024", "") for part, text in again.items()} == {
        part: text.replace(" metric 1024", "") for part, text in during.items()
    }
    await gateway.router.close()
    assert snapshot(site.gateway) == before


async def test_ok__what_a_killed_run_leaves_is_cleaned(site):
    site.gateway.nft(DOCKER)
    before = snapshot(site.gateway)
    program = site.gateway.start(
        "router", sys.executable, "-m", "tests.lab.router_program", str(site.journal), env={"PYTHONPATH": str(ROOT)}
    )
    program.wait_for_output("applied")
    program.kill()
    assert snapshot(site.gateway) != before
    with inside(site.gateway):
        gateway = Gateway(site.journal)
        cleaned = await gateway.router.clean_stale()
        again = await gateway.router.clean_stale()
        await gateway.netlink.close()
    assert "nftables table inet waypost" in cleaned
    assert "openings in other firewalls" in cleaned
    assert "setting net.ipv4.ip_forward" in cleaned
    assert "IPv6 policy rule 5270" in cleaned
    assert "route throw 10.1.0.0/16 in table 52" in cleaned
    assert again == ()
    assert snapshot(site.gateway) == before
    assert not site.journal.exists()


async def test_fail__a_refused_route_leaves_the_former_state(site, gateway):
    await gateway.router.apply(MODEL)
    before = snapshot(site.gateway)
    bad = replace(MODEL, rules=(), routes=(*MODEL.routes, ip_network("fd99::/64")))
    original = gateway.netlink.apply

    async def apply(remove, add):
        await original(remove, add)
        if any("fd99" in str(item) for item in add):
            raise NetlinkError("cannot add route fd99::/64: No space left on device")

    gateway.netlink.apply = apply
    with pytest.raises(RouterError, match="No space left"):
        await gateway.router.apply(bad)
    assert snapshot(site.gateway) == before


async def test_ok__default_deny_but_replies_come(site, tunnel, gateway):
    await gateway.router.apply(replace(MODEL, rules=(), advertised=()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("100.64.0.1", 5000))
        tunnel.put(udp(PEER, "100.64.0.1", 53, 5000, b"unasked"))
        assert arrives(sock, 0.2) is None
        sock.sendto(b"question", (PEER, 53))
        asked = tunnel.take(lambda packet: addresses(packet) == ("100.64.0.1", PEER))
        assert asked is not None
        tunnel.put(udp("100.64.0.3", "100.64.0.1", 53, 5000, b"forged"))
        tunnel.put(udp(PEER, "100.64.0.1", 53, 5000, b"answer"))
        assert arrives(sock, 5) == (b"answer", (PEER, 53))


@pytest.mark.parametrize("snat", [True, False])
async def test_ok__subnet_routing_with_and_without_snat(site, tunnel, gateway, snat):
    await gateway.router.apply(replace(MODEL, snat=snat, foreign=ForeignMode.DETECT))
    with listen(site.host, 7000) as sock:
        tunnel.put(udp(PEER, HOST, 4000, 7000, b"to the host"))
        data, source = sock.recvfrom(100)
        assert data == b"to the host"
        assert source[0] == ("192.168.10.1" if snat else PEER)
        sock.sendto(b"back", source)
        reply = tunnel.take(lambda packet: upper(packet)[0] == UDP)
        assert reply is not None
        assert addresses(reply) == (HOST, PEER)
        assert upper(reply)[1][8:] == b"back"


async def test_ok__mss_is_clamped_in_both_directions(site, tunnel, gateway):
    await gateway.router.apply(MODEL)
    with inside(site.host):
        sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        connecting = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connecting.setblocking(False)
    with sniffer, connecting:
        sniffer.settimeout(5)
        tunnel.put(tcp(PEER, HOST, 4000, 80, mss=1460))
        while addresses(seen := sniffer.recv(2048))[1] != HOST or upper(seen)[0] != TCP:
            pass
        assert mss_of(upper(seen)[1]) == 1240
        assert connecting.connect_ex((PEER, 80)) != 0
        syn = tunnel.take(
            lambda packet: upper(packet)[0] == TCP and addresses(packet)[1] == PEER and upper(packet)[1][13] == SYN
        )
        assert syn is not None
        assert mss_of(upper(syn)[1]) == 1240


async def test_ok__overlay_sources_beside_the_tunnel_are_dropped(site, tunnel, gateway):
    site.host.ip("addr add 100.64.0.9/32 dev eth0")
    await gateway.router.apply(MODEL)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours, inside(site.host):
        ours.bind(("0.0.0.0", 5000))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as spoof:
            spoof.bind(("100.64.0.9", 1))
            spoof.sendto(b"spoofed", ("192.168.10.1", 5000))
            spoof.sendto(b"spoofed", (PEER, 5000))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as honest:
            honest.sendto(b"honest", (PEER, 5000))
            honest.sendto(b"honest", ("192.168.10.1", 5000))
        data = arrives(ours, 5)
    assert data is not None
    assert data[0] == b"honest"
    out = tunnel.take(lambda packet: upper(packet)[0] == UDP)
    assert out is not None
    assert upper(out)[1][8:] == b"honest"


async def test_ok__foreign_drops_are_told_and_opened(site, tunnel, gateway):
    site.gateway.nft(DOCKER + FIREWALLD)
    before = snapshot(site.gateway)
    await gateway.router.apply(replace(MODEL, foreign=ForeignMode.DETECT))
    assert gateway.events[-1].code == "foreign-firewall-drop"
    assert "ip table filter chain FORWARD (forward), inet table firewalld chain filter_INPUT" in gateway.events[-1].text
    with listen(site.host, 7000) as sock:
        tunnel.put(udp(PEER, HOST, 4000, 7000))
        assert arrives(sock, 0.2) is None
        await gateway.router.apply(MODEL)
        assert not gateway.events[-1].broken
        tunnel.put(udp(PEER, HOST, 4001, 7000))
        assert arrives(sock, 5) is not None
    await gateway.router.close()
    assert snapshot(site.gateway) == before


async def test_ok__link_monitor_and_repair(site, gateway):
    await gateway.router.apply(MODEL)
    whole = snapshot(site.gateway)
    changes: asyncio.Queue[LinkChanged] = asyncio.Queue()
    removed = asyncio.Event()
    monitor = LinkMonitor(gateway.netlink, changes.put_nowait, on_rule_removed=removed.set, quiet_s=0.05)
    network = await monitor.start()
    assert {uplink.interface for uplink in network.uplinks} == {"wan0"}
    assert "192.168.10.1" in map(str, network.endpoint_addresses())
    assert "100.64.0.1" not in map(str, network.endpoint_addresses())
    running = asyncio.ensure_future(monitor.run())
    try:
        site.gateway.ip("addr add 10.77.0.1/24 dev lan0")
        assert not (await changes.get()).major
        site.gateway.ip("addr del 10.77.0.1/24 dev lan0")
        assert not (await changes.get()).major
        site.gateway.ip("route replace default via 203.0.113.3")
        assert (await changes.get()).major
        site.gateway.ip("route replace default via 203.0.113.1")
        assert (await changes.get()).major
        site.gateway.ip("rule del pref 5270")
        await removed.wait()
        assert await gateway.router.repair_soon()
        site.gateway.ip("link set waypost0 down")
        site.gateway.run("nft", "delete", "table", "inet", "waypost")
        await gateway.router.repair()
        assert snapshot(site.gateway) == whole
    finally:
        running.cancel()
        monitor.close()


async def test_ok__daemon_sockets_carry_the_bypass_mark(site, tunnel):
    site.gateway.ip("link set lo up")
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        stream = await SocketDialer().dial("127.0.0.1", server.sockets[0].getsockname()[1])
        assert stream._writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == BYPASS_MARK
        assert await stream.read() == b""
        stream.close()


async def test_ok__marked_packets_never_enter_the_tunnel(site, tunnel, gateway):
    """With everything routed into the tunnel, a marked socket still goes out by the uplink."""
    await gateway.router.apply(replace(MODEL, routes=(*MODEL.routes, ip_network("0.0.0.0/0"))))
    assert "waypost0" in site.gateway.ip("route get 9.9.9.9")
    assert "wan0" in site.gateway.ip(f"route get 9.9.9.9 mark {BYPASS_MARK:#x}")
    assert site.gateway.run("cat", "/proc/sys/net/ipv4/conf/wan0/src_valid_mark").strip() == "1"


# The packet filter: verdicts of real packets against a naive reading of the rules.

OWN = ("100.64.0.1", "fd7a:115c:a1e0::1")
SOURCES = [f"100.64.0.{i}" for i in range(2, 12)] + [f"fd7a:115c:a1e0::{i:x}" for i in range(2, 12)]
TARGETS = [*OWN, *(f"10.0.0.{i}" for i in range(6)), *(f"fd20::{i}" for i in range(6)), "10.9.0.1", "fd29::1"]
SOURCE_TEXTS = ["*", "100.64.0.0/29", "100.64.0.4-100.64.0.9", "fd7a:115c:a1e0::/125", "cap:a", *SOURCES]
TARGET_TEXTS = ["*", "10.0.0.0/30", "10.0.0.2-10.0.0.4", "fd20::/126", "fd20::2-fd20::4", *TARGETS]
PORTS = [0, 1, 22, 80, 443, 65535]
FILTER = RouterModel(
    addresses=tuple(ip_network(text) for text in OWN),
    routes=(ip_network("100.64.0.0/24"), ip_network("fd7a:115c:a1e0::/48")),
    advertised=(ip_network("10.0.0.0/24"), ip_network("fd20::/64")),
    cap_sources={"a": (ip_address("100.64.0.11"), ip_address("fd7a:115c:a1e0::b"))},
    jailed=(ip_network("100.64.0.5/32"), ip_network("fd7a:115c:a1e0::5/128")),
    peerapi=(AddrPort("100.64.0.1", 443), AddrPort("fd7a:115c:a1e0::1", 443)),
)
PROBE = """table inet probe {
    set seen4 { typeof ip id; flags dynamic; size 65535; }
    set seen6 { typeof ip6 flowlabel; flags dynamic; size 65535; }
    chain after { type filter hook prerouting priority -105;
        iifname "waypost0" meta nfproto ipv4 add @seen4 { ip id }
        iifname "waypost0" meta nfproto ipv6 add @seen6 { ip6 flowlabel }
    }
}"""


def random_rules(chance: random.Random) -> tuple[FilterRule, ...]:
    def ports() -> tuple[int, int]:
        first, last = sorted(chance.choices(PORTS, k=2))
        return chance.choice([(first, last), (0, 65535)])

    return tuple(
        FilterRule(
            tuple(chance.choices(SOURCE_TEXTS, k=chance.randint(1, 3))),
            tuple(PortRange(chance.choice(TARGET_TEXTS), *ports()) for _ in range(chance.randint(1, 3))),
            tuple(chance.choices([1, 6, 17, 47, 58, 132], k=chance.choice([0, 0, 1, 2]))),
        )
        for _ in range(chance.choice([0, 1, 3, 10, 40]))
    )


def naive(model: RouterModel, packet: Packet) -> bool:
    """Section 1.4 of the node-os spec, read word by word, rule by rule."""

    def matches(text: str, address) -> bool:
        if text == "*":
            return True
        if text.startswith("cap:"):
            return address in model.cap_sources[text[4:]]
        if "-" in text:
            low, high = map(ip_address, text.split("-"))
            return low.version == address.version and low <= address <= high
        return address in ip_network(text)

    source, target, version = packet.source, packet.destination, packet.source.version
    if not any(target in prefix for prefix in (*model.addresses, *model.advertised)):
        return False
    if packet.protocol == 99:
        return True
    if packet.protocol == TCP and any((str(target), packet.port) == api for api in model.peerapi):
        return True
    if model.shields_up or any(source in prefix for prefix in model.jailed):
        return False
    own_icmp = ICMP if version == 4 else ICMPV6
    for rule in model.rules:
        if not any(matches(text, source) for text in rule.src_ips):
            continue
        for entry in rule.dst_ports:
            if not matches(entry.ip, target):
                continue
            if packet.protocol == own_icmp:
                return True
            if packet.protocol not in (rule.ip_protos or (6, 17, 1, 58)) or packet.protocol in (ICMP, ICMPV6):
                continue
            if packet.protocol in (TCP, UDP, 132):
                if entry.first <= packet.port <= entry.last:
                    return True
            elif (entry.first, entry.last) == (0, 65535):
                return True
    return False


def random_packet(chance: random.Random) -> Packet:
    source = ip_address(chance.choice(SOURCES))
    targets = [text for text in TARGETS if ip_address(text).version == source.version]
    icmp = ICMP if source.version == 4 else ICMPV6
    protocol = chance.choice([TCP, TCP, UDP, icmp, 47, 99, 132])
    port = chance.choice(PORTS[1:]) + chance.choice([0, 0, 1]) if protocol in (TCP, UDP, 132) else 0
    return Packet(source, ip_address(chance.choice(targets)), protocol, min(port, 65535), 8 if icmp == ICMP else 128)


def made(packet: Packet, number: int) -> bytes:
    """Every packet opens a flow of its own: `number` is also its source port."""
    source, target = str(packet.source), str(packet.destination)
    if packet.protocol == TCP:
        return tcp(source, target, number, packet.port, number=number)
    if packet.protocol == UDP:
        return udp(source, target, number, packet.port, number=number)
    if packet.protocol in (ICMP, ICMPV6):
        return echo_request(source, target, number, number=number)
    ports = number.to_bytes(2, "big") + packet.port.to_bytes(2, "big")
    return ip_packet(source, target, packet.protocol, ports + bytes(16), number)


def seen(gateway: Namespace) -> set[int]:
    numbers: set[int] = set()
    for name in ("seen4", "seen6"):
        listed = json.loads(gateway.run("nft", "-j", "list", "set", "inet", "probe", name))
        numbers.update(next(item["set"] for item in listed["nftables"] if "set" in item).get("elem", []))
    return numbers


async def test_ok__verdicts_equal_a_naive_reading_of_the_rules(site, tunnel, gateway):
    seed = int(os.environ.get("WAYPOST_SEED", "0")) or random.randrange(1, 2**32)
    print("seed", seed)
    chance = random.Random(seed)
    site.gateway.nft(PROBE)
    number = 1000
    accepted = refused = 0
    for _ in range(30):
        model = replace(FILTER, rules=random_rules(chance), shields_up=chance.random() < 0.1)
        await gateway.router.apply(model)
        sent: dict[int, Packet] = {}
        for _ in range(80):
            number += 1
            sent[number] = random_packet(chance)
            tunnel.put(made(sent[number], number))
        passed = seen(site.gateway)
        for key, packet in sent.items():
            expected = naive(model, packet)
            assert (key in passed) == expected, f"seed {seed}: {packet}: {model.rules}"
            assert explain(model, packet).accepted == expected, f"seed {seed}: {packet}"
            accepted, refused = accepted + expected, refused + (not expected)
    assert accepted > 100
    assert refused > 100


async def test_ok__only_flows_that_are_known_go_without_a_rule(site, tunnel, gateway):
    """A TCP segment in mid-flow opens nothing."""
    site.gateway.nft(PROBE)
    await gateway.router.apply(replace(FILTER, rules=()))
    tunnel.put(tcp(PEER, "100.64.0.1", 1, 80, flags=ACK, number=1))
    tunnel.put(echo_request(PEER, "100.64.0.1", 2, number=2))
    tunnel.put(ip_packet(PEER, "100.64.0.1", ICMP, bytes.fromhex("0000ffff00000000"), 3))
    assert seen(site.gateway) == {3}


async def test_ok__ten_thousand_rules(site, tunnel, gateway):
    rules = tuple(
        FilterRule((f"100.64.{i // 200}.{i % 200}",), (PortRange(f"10.0.0.{i % 250}", 1 + i, 5 + i),))
        for i in range(10_000)
    )
    site.gateway.nft(PROBE)
    await gateway.router.apply(replace(FILTER, routes=(ip_network("100.64.0.0/10"),), rules=rules))
    listed = site.gateway.run("nft", "-t", "list", "table", "inet", "waypost")
    assert len(listed.splitlines()) < 150, "lookups, not a list of rules"
    tunnel.put(udp("100.64.49.199", "10.0.0.249", 5, 10_000, number=1))
    tunnel.put(udp("100.64.49.199", "10.0.0.249", 6, 9_999, number=2))
    tunnel.put(udp("100.64.49.199", "10.0.0.249", 7, 9_998 + 10, number=3))
    assert seen(site.gateway) == {1}
