"""The router on a real kernel. Topology: `tests.lab.router_site`."""

from __future__ import annotations

import asyncio
import socket
import sys
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from appliance.drivers.links import LinkMonitor
from appliance.drivers.streams import BYPASS_MARK, SocketDialer
from appliance.ports.netlink import NetlinkError, QueueTraffic, Route
from appliance.router.model import ForeignMode, Guard, Shape
from appliance.router.service import RouterError
from appliance.types.events import LinkChanged
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
from tests.lab.router_host import Gateway, inside, snapshot
from tests.lab.router_program import MODEL
from tests.lab.router_site import HOST, HOST6, PEER, arrives, listen

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]
ROOT = Path(__file__).resolve().parents[2]
BURST, MOST_OF_BURST = 2000, 1500
"""Packets; a TUN device holds 500. A busy machine may lose some on the way to it."""
DOCKER = """table ip filter {
    chain FORWARD { type filter hook forward priority 0; policy drop;
    }
}
"""
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
    assert await gateway.netlink.queue_traffic("waypost0") == {1: QueueTraffic(), 2: QueueTraffic()}
    await gateway.netlink.limit("waypost0", (500,))
    assert "rate 500Kbit" in shown("class")
    assert "5757:2" not in shown("class")
    await gateway.netlink.limit("waypost0", ())
    assert shown("qdisc") == before
    await gateway.netlink.limit("nowhere0", ())
    assert await gateway.netlink.queue_traffic("waypost0") == await gateway.netlink.queue_traffic("nowhere0") == {}
    with pytest.raises(NetlinkError, match="no interface nowhere0"):
        await gateway.netlink.limit("nowhere0", (500,))


async def test_ok__what_limits_let_pass_and_drop_is_counted(site, tunnel, gateway):
    """As many as were sent have passed, were dropped or wait; what another limit holds is counted apart."""
    shapes = [Shape((ip_network(net),), rate, net) for net, rate in ((PEER, 64), ("fd7a:115c:a1e0::2", 1_000_000))]
    await gateway.router.apply(replace(MODEL, shapes=tuple(shapes)))
    with listen(site.host, 7000) as sock:  # forwarded: what waits at the rate does not hold the sender up
        for _ in range(BURST):
            sock.sendto(bytes(1000), (PEER, 7000))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.sendto(bytes(1000), ("fd7a:115c:a1e0::2", 7000))
    async with asyncio.timeout(30):
        while _all_of((await gateway.router.shape_traffic())[PEER]) < MOST_OF_BURST:
            await asyncio.sleep(0.05)
    seen = await gateway.router.shape_traffic()
    slow, fast = seen[PEER], seen["fd7a:115c:a1e0::2"]
    assert MOST_OF_BURST <= _all_of(slow) <= BURST
    assert slow.sent_packets > 0
    assert slow.dropped_packets > BURST // 4, "the queue of the device is shorter than the burst"
    assert slow.sent_bytes == slow.sent_packets * 1028
    assert slow.backlog_bytes == slow.backlog_packets * 1028
    assert slow.overlimits > 0
    assert (fast.sent_bytes, fast.sent_packets, fast.dropped_packets) == (1048, 1, 0)
    await gateway.router.repair()
    assert (await gateway.router.shape_traffic())[PEER].dropped_packets >= slow.dropped_packets, "they count on"


def _all_of(seen: QueueTraffic) -> int:
    return seen.sent_packets + seen.dropped_packets + seen.backlog_packets


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


async def test_ok__own_routes_go_first_while_they_are_there(site, tunnel, gateway):
    """Of the same length or longer; shorter ones do not count, and what no setting names goes into the tunnel."""
    site.host.ip(f"addr add {HOST6}/64 dev eth0 nodad")
    site.gateway.ip("addr add fd10::2/64 dev lan0 nodad")
    networks = {"192.168.20.0/24": (HOST, "192.168.20.9"), "fd20::/64": (HOST6, "fd20::9")}
    routes = (*MODEL.routes, *map(ip_network, networks))
    model = replace(MODEL, routes=routes)
    await gateway.router.apply(model)
    before = snapshot(site.gateway)
    for network, (router, host) in networks.items():
        site.gateway.ip(f"route add {network} via {router}")
        site.host.ip(f"addr add {host} dev lo nodad")
        assert "waypost0" in site.gateway.ip(f"route get {host}"), "the mesh goes first"
    await gateway.router.apply(replace(model, own_first=frozenset(map(ip_network, networks))))
    for network, (router, host) in networks.items():
        with inside(site.host):
            listener = socket.create_server((host, 7000), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        with listener, socket.create_connection((host, 7000), timeout=10):
            pass
        site.gateway.ip(f"route replace {_wider(network)} via {router}")
        site.gateway.ip(f"route del {network}")
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"after it went", (host, 7000))
        sent = tunnel.take(lambda packet: upper(packet)[0] == UDP and upper(packet)[1][8:] == b"after it went")
        assert sent is not None
        assert addresses(sent)[1] == host
        site.gateway.ip(f"route del {_wider(network)}")
    await gateway.router.apply(model)
    assert snapshot(site.gateway) == before


def _wider(network: str) -> str:
    return str(ip_network(network).supernet(4))


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
