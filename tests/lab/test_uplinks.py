"""A gateway with two ways to the Internet.

LAN A ── gateway-a ── eth0 ── nat-a ───┐
                └──── wwan0 ── nat-lte ┴─ internet ── nat-b ── gateway-b ── LAN B
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.lab.namespaces import Lab, Namespace
from tests.lab.processes import wait_until
from tests.lab.sites import TwoSites, two_sites, wait_for_page
from tests.lab.topology import NatKind, box_rules

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]


def second_uplink(sites: TwoSites) -> Namespace:
    """Another NAT box, which the host likes less."""
    box = sites.internet.lab.namespace("nat-lte")
    gateway = sites.site_a.gateway
    sites.internet.lab.cable(box, "lan", gateway, "wwan0")
    sites.internet.attach(box, "wan", 11)
    box.sysctl("net.ipv4.ip_forward", 1)
    box.ip("addr add 10.99.0.1/24 dev lan")
    box.nft(box_rules(NatKind.EASY))
    gateway.ip("addr add 10.99.0.2/24 dev wwan0")
    gateway.ip("route add default via 10.99.0.1 metric 700")
    return box


def in_use(sites: TwoSites) -> str:
    found = sites.a.json("uplinks")
    return next((str(uplink["interface"]) for uplink in found if uplink["in_use"]), "")


def path_mtu(sites: TwoSites) -> int | None:
    """Of the direct path to gateway-b, None while it is not known."""
    mtu = sites.a.status()["peers"][0]["path"]["mtu"]
    return int(mtu) if mtu is not None else None


def leaves_by(sites: TwoSites) -> str:
    """The public address of gateway-a's packets."""
    return str(sites.a.json("netcheck")["global_v4"]).partition(":")[0]


def test_ok__away_from_an_uplink_that_is_dead_beyond_its_router(lab: Lab, tmp_path: Path) -> None:
    sites = two_sites(lab, tmp_path, NatKind.EASY, NatKind.EASY)
    second_uplink(sites)
    (tmp_path / "uplinks.toml").write_text('[paths]\nuplinks = ["eth0", "wwan0"]\npath_mtu = "on"\n')
    sites.a.options = ("--config", str(tmp_path / "uplinks.toml"))
    sites.site_b.gateway.ip("link set eth0 mtu 1400")
    sites.join()
    wait_for_page(sites)
    wait_until(lambda: path_mtu(sites) == 1400, 40, "the size of packets on the way to be known")
    wait_until(lambda: in_use(sites) == "eth0", 20, "the first uplink to be used")
    wait_until(lambda: sites.a.json("uplinks")[1]["latency_s"] is not None, 20, "the second one to be measured")

    # No link goes down here: only measurement tells.
    sites.site_a.router.ip("link set wan down")
    wait_until(lambda: in_use(sites) == "wwan0", 40, "the second uplink to be chosen")
    wait_for_page(sites, 40)
    assert "default via 10.99.0.1" in sites.site_a.gateway.run("ip", "route", "show", "table", "53")
    assert leaves_by(sites) == "203.0.113.11"
    assert "* wwan0" in sites.a.must("uplinks")
    assert sites.a.json("uplinks")[1]["rx_peak_bytes_s"] > 0
    modem = sites.a.json("uplinks")[1]
    assert (modem["carries_tx_bytes_s"], modem["carries_rx_bytes_s"]) == (None, None), "it looks like a modem"

    # The second one's link goes: the first, dead or not, is what is left; then it works again.
    sites.site_a.router.ip("link set wan up")
    sites.site_a.gateway.ip("link set wwan0 down")
    wait_until(lambda: in_use(sites) == "eth0", 20, "the first uplink to be used again")
    wait_for_page(sites, 40)
    assert sites.a.process is not None
    sites.a.process.stop()
    assert not sites.site_a.gateway.run("ip", "route", "show", "table", "53", check=False).strip()
    assert "5206" not in sites.site_a.gateway.run("ip", "rule")


def shape(box: Namespace, lan: str, down: str, up: str) -> None:
    """What the line behind a router carries each way; it holds as much as such routers do."""
    for device, rate in ((lan, down), ("wan", up)):
        box.run("tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", rate, "burst", "16kb", "latency", "400ms")


def carries_mbit_s(sites: TwoSites) -> list[float]:
    """Down and up of the first uplink, then of the second; 0 is not known."""
    found = sites.a.json("uplinks")
    return [(uplink[f"carries_{way}_bytes_s"] or 0.0) * 8 / 1e6 for uplink in found for way in ("rx", "tx")]


@pytest.mark.long
def test_ok__the_line_that_carries_more_is_preferred(lab: Lab, tmp_path: Path) -> None:
    sites = two_sites(lab, tmp_path, NatKind.EASY, NatKind.EASY)
    shape(sites.site_a.router, "lan0", "20mbit", "3mbit")
    shape(second_uplink(sites), "lan", "6mbit", "12mbit")
    settings = 'uplinks = ["eth0", "wwan0"]\nuplink_policy = "widest"\nuplink_throughput = "on"\n'
    (tmp_path / "uplinks.toml").write_text(f"[paths]\n{settings}")
    sites.a.options = ("--config", str(tmp_path / "uplinks.toml"))
    sites.join()
    wait_for_page(sites)
    wait_until(lambda: all(carries_mbit_s(sites)), 120, "both uplinks to be measured")
    down, up, second_down, second_up = carries_mbit_s(sites)
    assert 1.5 < up < 6 < second_up < 24
    assert 3 < second_down < 12
    assert 10 < down < 40
    wait_until(lambda: in_use(sites) == "wwan0", 60, "the wider one to be used")
    assert re.search(r"carries [\d.]+ Mbit/s down, [\d.]+ Mbit/s up", sites.a.must("uplinks"))


@pytest.mark.long
def test_ok__the_host_moves_its_default_route(lab: Lab, tmp_path: Path) -> None:
    sites = two_sites(lab, tmp_path, NatKind.EASY, NatKind.EASY)
    second_uplink(sites)
    sites.join()
    wait_for_page(sites)
    sites.a.wait_for_path("gateway-b", "direct")
    sites.site_a.gateway.ip("route del default via 192.168.10.1")
    wait_until(lambda: sites.page_comes() and leaves_by(sites) == "203.0.113.11", 60, "the second one")
    sites.site_a.gateway.ip("route add default via 192.168.10.1")
    wait_until(lambda: sites.page_comes() and leaves_by(sites) == "203.0.113.10", 60, "the first one")
