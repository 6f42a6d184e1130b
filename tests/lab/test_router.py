"""The router on a real kernel.

    peers ── TUN waypost0 ── gateway (router) ── lan0 192.168.10.1/24, fd10::1/64 ── host .5
                                              └─ wan0 203.0.113.2/24 (default route)

The test plays the peers: it writes packets into the TUN device and reads what comes out.
"""

from __future__ import annotations

import asyncio
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
from appliance.ports.netlink import NetlinkError, Route
from appliance.router.model import ForeignMode, Guard
from appliance.router.service import RouterError
from appliance.types.events import LinkChanged
from tests.lab.legacy_policy import set_forward_policy
from tests.lab.namespaces import Lab, Namespace
from tests.lab.raw_packets import (
    SYN,
    TCP,
    UDP,
    addresses,
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
# What the programs make on Debian 12, less what does not matter here: verdicts, hooks and priorities are theirs.
DOCKER_NFT = """table ip nat {
    chain PREROUTING { type nat hook prerouting priority -100; policy accept;
        fib daddr type local counter jump DOCKER; }
    chain POSTROUTING { type nat hook postrouting priority 100; policy accept;
        oifname != "docker0" ip saddr 172.17.0.0/16 counter masquerade; }
    chain DOCKER { iifname "docker0" counter return; }
}
table ip filter {
    chain FORWARD { type filter hook forward priority 0; policy drop;
        counter jump DOCKER-USER
        counter jump DOCKER-ISOLATION-STAGE-1
        oifname "docker0" ct state related,established counter accept
        oifname "docker0" counter jump DOCKER
        iifname "docker0" oifname != "docker0" counter accept
        iifname "docker0" oifname "docker0" counter accept
    }
    chain DOCKER { }
    chain DOCKER-ISOLATION-STAGE-1 {
        iifname "docker0" oifname != "docker0" counter jump DOCKER-ISOLATION-STAGE-2
        counter return
    }
    chain DOCKER-ISOLATION-STAGE-2 { oifname "docker0" counter drop; counter return; }
    chain DOCKER-USER { counter return; }
}
"""
UFW = """table ip filter {
    chain INPUT { type filter hook input priority 0; policy drop;
        counter jump ufw-before-input; counter jump ufw-user-input; }
    chain FORWARD { type filter hook forward priority 0; policy drop; counter jump ufw-before-forward; }
    chain ufw-before-input { iifname "lo" counter accept; ct state related,established counter accept;
        ct state invalid counter drop; }
    chain ufw-before-forward { ct state related,established counter accept; }
    chain ufw-user-input { tcp dport 22 counter accept; }
}
table ip6 filter {
    chain INPUT { type filter hook input priority 0; policy drop; ct state related,established counter accept; }
    chain FORWARD { type filter hook forward priority 0; policy drop; }
}
"""
FIREWALLD = """table inet firewalld {
    chain filter_INPUT { type filter hook input priority 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname "lo" accept
        jump filter_INPUT_ZONES
        ct state invalid drop
        reject with icmpx admin-prohibited
    }
    chain filter_FORWARD { type filter hook forward priority 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname "lo" accept
        ct state invalid drop
        reject with icmpx admin-prohibited
    }
    chain filter_INPUT_ZONES { iifname "lan0" goto filter_IN_public; }
    chain filter_IN_public { tcp dport 22 ct state new accept; meta l4proto { icmp, ipv6-icmp } accept; }
}
"""
TRUSTED = """table inet firewalld {
    chain filter_INPUT { type filter hook input priority 10; policy accept;
        ct state { established, related } accept
        jump filter_ZONES
        reject with icmpx admin-prohibited
    }
    chain filter_FORWARD { type filter hook forward priority 10; policy accept;
        ct state { established, related } accept
        jump filter_ZONES
        oifname "waypost0" accept
        reject with icmpx admin-prohibited
    }
    chain filter_ZONES { iifname "lan0" goto filter_IN_public; iifname "waypost0" goto filter_IN_trusted; }
    chain filter_IN_public { tcp dport 22 ct state new accept; }
    chain filter_IN_trusted { counter accept; }
}
"""
PEER, HOST, HOST6 = "100.64.0.2", "192.168.10.5", "fd10::5"


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


EXIT = (ip_network("0.0.0.0/0"), ip_network("::/0"))


@pytest.mark.parametrize(
    "model",
    [
        MODEL,
        replace(MODEL, snat=False, stateful=True, drop_cgnat=False, shields_up=True),
        replace(MODEL, advertised=(*MODEL.advertised, *EXIT)),
        replace(MODEL, routes=(*MODEL.routes, *EXIT)),
    ],
    ids=["subnets", "no-snat", "offers-exit", "uses-exit"],
)
async def test_ok__close_leaves_the_host_as_it_was(site, gateway, model):
    site.gateway.nft(DOCKER)
    before = snapshot(site.gateway)
    await gateway.router.apply(model)
    during = snapshot(site.gateway)
    assert all(during[part] != before[part] for part in before), "every part is touched, else this proves nothing"
    assert "throw 10.1.0.0/16" in during["-4 route show table all"]
    assert "5270:\tfrom all lookup 52" in during["-6 rule"]
    await gateway.router.apply(replace(model, routes=model.routes[:1], local_routes=(), rules=(), advertised=()))
    await gateway.router.apply(model)
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


async def test_ok__many_routes_and_the_one_that_the_kernel_refuses(site, tunnel, gateway):
    """More than a batch; the kernel's own refusal is named, in whichever place it stands."""
    await gateway.router.apply(MODEL)
    many = [Route(ip_network(f"10.200.{number}.0/24"), 77, interface="waypost0") for number in range(200)]
    many += [Route(ip_network(f"fd77:{number:x}::/64"), 77, interface="waypost0") for number in range(100)]
    await gateway.netlink.apply((), many)
    assert set(await gateway.netlink.routes(77)) == set(many)
    assert await gateway.netlink.routes(78) == []
    nowhere = Route(ip_network("10.201.0.0/16"), 77, interface="waypost0", gateway=ip_address("203.0.113.9"))
    with pytest.raises(NetlinkError, match=r"cannot add route 10\.201\.0\.0/16 .*unreachable"):
        await gateway.netlink.apply((), [*many[:150], nowhere])
    await gateway.netlink.apply([nowhere, *many], ())
    assert await gateway.netlink.routes(77) == []


async def test_ok__rates_of_a_device(site, tunnel, gateway):
    def shown(what):
        return site.gateway.run("tc", what, "show", "dev", "waypost0")

    before = shown("qdisc")
    fair = await gateway.netlink.limit("waypost0", (1_000, 40_000_000))
    assert shown("qdisc").count("qdisc fq_codel ") == (2 if fair else 0), "as this kernel has it"
    classes = shown("class")
    assert "class htb 5757:1 root" in classes
    assert "rate 1Mbit ceil 1Mbit" in classes
    assert "rate 40Gbit ceil 40Gbit" in classes
    await gateway.netlink.limit("waypost0", (500,))
    assert "rate 500Kbit" in shown("class")
    assert "5757:2" not in shown("class")
    await gateway.netlink.limit("waypost0", ())
    assert shown("qdisc") == before
    await gateway.netlink.limit("nowhere0", ())
    with pytest.raises(NetlinkError, match="no interface nowhere0"):
        await gateway.netlink.limit("nowhere0", (500,))


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


@pytest.mark.parametrize(
    ("host", "peer", "kind", "family", "mss"),
    [(HOST, PEER, 0x0800, socket.AF_INET, 1240), (HOST6, "fd7a:115c:a1e0::2", 0x86DD, socket.AF_INET6, 1220)],
    ids=["ipv4", "ipv6"],
)
async def test_ok__mss_is_clamped_in_both_directions(site, tunnel, gateway, host, peer, kind, family, mss):
    site.gateway.ip("addr add fd10::2/64 dev lan0 nodad")
    site.host.ip(f"addr add {HOST6}/64 dev eth0 nodad")
    site.host.ip("-6 route add default via fd10::2")
    await gateway.router.apply(MODEL)
    with inside(site.host):
        sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(kind))
        connecting = socket.socket(family, socket.SOCK_STREAM)
        connecting.setblocking(False)
    with sniffer, connecting:
        sniffer.settimeout(5)
        tunnel.put(tcp(peer, host, 4000, 80, mss=1460))
        while addresses(seen := sniffer.recv(2048))[1] != host or upper(seen)[0] != TCP:
            pass
        assert mss_of(upper(seen)[1]) == mss
        assert connecting.connect_ex((peer, 80)) != 0
        syn = tunnel.take(
            lambda packet: upper(packet)[0] == TCP and addresses(packet)[1] == peer and upper(packet)[1][13] == SYN
        )
        assert syn is not None
        assert mss_of(upper(syn)[1]) == mss


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


@pytest.mark.parametrize(
    ("foreign", "told"),
    [
        (DOCKER_NFT, ["ip table filter chain FORWARD (forward)"]),
        (UFW, [f"{family} table filter chain {chain}" for family in ("ip", "ip6") for chain in ("INPUT", "FORWARD")]),
        (FIREWALLD, ["inet table firewalld chain filter_INPUT", "inet table firewalld chain filter_FORWARD"]),
        (DOCKER_NFT + FIREWALLD, ["ip table filter chain FORWARD", "inet table firewalld chain filter_FORWARD"]),
    ],
    ids=["docker", "ufw", "firewalld", "docker-firewalld"],
)
async def test_ok__foreign_drops_are_told_and_opened(site, tunnel, gateway, foreign, told):
    """Both ways into the host's networks and to the host itself; a reload of the other firewall is noticed."""
    site.gateway.nft(foreign)
    before = snapshot(site.gateway)
    model = replace(MODEL, foreign=ForeignMode.DETECT)
    await gateway.router.apply(model)
    assert gateway.events[-1].code == "foreign-firewall-drop"
    assert all(place in gateway.events[-1].text for place in told)
    with listen(site.host, 7000) as sock:
        tunnel.put(udp(PEER, HOST, 4000, 7000))
        assert arrives(sock, 0.2) is None
        await gateway.router.apply(MODEL)
        assert not gateway.events[-1].broken
        await passes(site, tunnel, sock, 4001)
        site.gateway.run("nft", "flush", "ruleset")
        site.gateway.nft(foreign)
        await gateway.router.repair()
        await passes(site, tunnel, sock, 4011)
        await gateway.router.apply(model)
        tunnel.put(udp(PEER, HOST, 4020, 7000))
        assert arrives(sock, 0.2) is None
        assert gateway.events[-1].broken
    await gateway.router.close()
    assert snapshot(site.gateway) == before


async def test_ok__what_iptables_legacy_drops_is_told(site, tunnel, gateway):
    """nft shows nothing of it; nothing is made in the host's tables by looking."""
    names = Path("/proc/thread-self/net/ip_tables_names")
    if not names.exists():
        pytest.skip("this kernel has no tables of iptables-legacy")
    await gateway.router.apply(MODEL)
    assert names.read_text() == ""
    with listen(site.host, 7000) as sock:
        set_forward_policy(-1)
        tunnel.put(udp(PEER, HOST, 4000, 7000))
        assert arrives(sock, 0.2) is None
        await gateway.router.repair()
        assert gateway.events[-1].broken
        assert "iptables-legacy table filter chain FORWARD (forward)" in gateway.events[-1].text
        set_forward_policy(-2)
        await gateway.router.repair()
        assert not gateway.events[-1].broken
        await passes(site, tunnel, sock, 4001)


async def test_ok__a_zone_that_trusts_the_tunnel_is_no_drop(site, tunnel, gateway):
    site.gateway.nft(TRUSTED)
    await gateway.router.apply(replace(MODEL, foreign=ForeignMode.DETECT))
    assert "foreign-firewall-drop" not in {event.code for event in gateway.events if event.broken}
    with listen(site.host, 7000) as sock:
        await passes(site, tunnel, sock, 4001)


async def passes(site: Site, tunnel: Tunnel, sock: socket.socket, port: int) -> None:
    """A peer's packet reaches the host behind and the gateway itself, and the host's own packets go into the tunnel."""
    tunnel.put(udp(PEER, HOST, port, 7000))
    assert arrives(sock, 5) is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("100.64.0.1", 7001))
        tunnel.put(udp(PEER, "100.64.0.1", port, 7001))
        assert arrives(own, 5) is not None
    sock.sendto(b"out", (PEER, port + 5))
    assert tunnel.take(lambda packet: upper(packet)[0] == UDP and upper(packet)[1][8:] == b"out") is not None


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


async def test_ok__flushed_tables_are_noticed(site, tunnel, gateway):
    """Without its table the filter lets everything pass: the daemon asks each second."""
    assert gateway.router.stands()
    await gateway.router.apply(replace(MODEL, guard=Guard()))
    assert gateway.router.stands()
    for words in ("flush ruleset", "delete table inet waypost", "delete table inet waypost_guard"):
        site.gateway.run("nft", *words.split())
        assert not gateway.router.stands()
        await gateway.router.repair()
        assert gateway.router.stands()
    await gateway.router.close()
    assert gateway.router.stands()


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
