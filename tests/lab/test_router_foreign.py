"""The router beside other firewalls of its host: what they drop is told and opened, on a real kernel.

Topology: `tests.lab.router_site`.
"""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.router.model import ForeignMode
from tests.lab.legacy_policy import set_forward_policy
from tests.lab.raw_packets import UDP, udp, upper
from tests.lab.router_host import Tunnel, snapshot
from tests.lab.router_program import MODEL
from tests.lab.router_site import HOST, PEER, RouterSite, arrives, listen

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]
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


async def passes(site: RouterSite, tunnel: Tunnel, sock: socket.socket, port: int) -> None:
    """A peer's packet reaches the host behind and the gateway itself, and the host's own packets go into the tunnel."""
    tunnel.put(udp(PEER, HOST, port, 7000))
    assert arrives(sock, 5) is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("100.64.0.1", 7001))
        tunnel.put(udp(PEER, "100.64.0.1", port, 7001))
        assert arrives(own, 5) is not None
    sock.sendto(b"out", (PEER, port + 5))
    assert tunnel.take(lambda packet: upper(packet)[0] == UDP and upper(packet)[1][8:] == b"out") is not None
