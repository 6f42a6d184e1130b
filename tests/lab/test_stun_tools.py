"""Another project's STUN client, a gateway behind the same NAT, and the NAT itself agree on the address outside.

gateway-a -- nat-a (another random port for each destination, IPv4 and IPv6) -- internet -- control with relay and STUN
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.mesh import CONTROL_PORT, ControlServer, Gateway, command
from tests.lab.namespaces import LabError
from tests.lab.processes import wait_until
from tests.lab.topology import CONTROL_IP, INTERNET_V6, Internet, NatKind, Site, site

if TYPE_CHECKING:
    from tests.lab.namespaces import Lab, Namespace

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

TOOL = Path(__file__).resolve().parents[2] / "build/coturn/root/usr/bin/turnutils_stunclient"
CONTROL_V6 = f"{INTERNET_V6}::1"
GATEWAY_V6 = "fd00:10::2"


def add_ipv6(place: Site) -> None:
    """Private IPv6 behind the box, which translates it as it does IPv4."""
    place.router.sysctl("net.ipv6.conf.all.forwarding", 1)
    place.router.ip("addr add fd00:10::1/64 dev lan nodad")
    place.gateway.ip(f"addr add {GATEWAY_V6}/64 dev eth0 nodad")
    place.gateway.ip("route add default via fd00:10::1")


def tool_says(host: Namespace, server: str) -> tuple[str, int]:
    """The address that the tool learns of itself."""
    if not TOOL.exists():
        raise LabError(f"{TOOL} is missing: call tools/setup.sh test")
    result = command(host, str(TOOL), server)
    found = re.search(r"reflexive addr: \[?([0-9a-f.:]+?)\]?:(\d+)\s*$", result.stdout, re.MULTILINE)
    assert found, f"{result.stdout}\n{result.stderr}"
    return str(ip_address(found[1])), int(found[2])


def nat_gave(router: Namespace, inside: str, server: str) -> set[tuple[str, int]]:
    """Addresses outside, by the NAT's own table, of a host's STUN requests to a server."""
    family = "ipv6" if ":" in inside else "ipv4"
    lines = router.run("conntrack", "-L", "-f", family, "-p", "udp", "-s", inside, "-d", server, "--dport", "3478")
    answers = (re.findall(r"dst=(\S+) sport=3478 dport=(\d+)", line) for line in lines.splitlines())
    return {(str(ip_address(ip)), int(port)) for found in answers for ip, port in found}


def netcheck_says(gateway: Gateway) -> dict[str, tuple[str, int]]:
    """The gateway's addresses outside as far as it knows them, by what netcheck calls them."""
    report = gateway.json("netcheck")
    found = {family: str(report[family]).rpartition(":") for family in ("global_v4", "global_v6") if report[family]}
    return {family: (ip.strip("[]"), int(port)) for family, (ip, _, port) in found.items()}


def test_ok__a_foreign_tool_our_netcheck_and_the_nat_agree(lab: Lab, tmp_path: Path) -> None:
    internet = Internet(lab)
    options = ("--listen", f"[::]:{CONTROL_PORT}", "--derp-host", f"{CONTROL_IP},{CONTROL_V6}")
    control = ControlServer(internet.server("control", 1), tmp_path / "control", options)
    place = site(internet, "a", 10, NatKind.SYMMETRIC)
    add_ipv6(place)
    place.router.sysctl("net.netfilter.nf_conntrack_udp_timeout", 300)  # what it gave is looked up afterwards
    control.start()
    gateway = Gateway(place.gateway, tmp_path / "a")
    gateway.start()
    gateway.up(control.pre_auth_key())
    known: dict[str, tuple[str, int]] = {}
    wait_until(lambda: known.update(netcheck_says(gateway)) or len(known) == 2, 60, "netcheck to know both addresses")
    for family, inside, server, outside in (
        ("global_v4", place.gateway_ip, CONTROL_IP, "203.0.113.10"),
        ("global_v6", GATEWAY_V6, CONTROL_V6, "2001:db8::10"),
    ):
        ours, theirs = known[family], tool_says(place.gateway, server)
        assert ours[0] == theirs[0] == outside
        assert ours[1] != theirs[1], "another socket"
        assert {ours, theirs} <= nat_gave(place.router, inside, server)
