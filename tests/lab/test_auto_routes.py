"""A gateway offers the networks that DHCP and router advertisements give it, as they change; less those it shall not.

client (a node) ── Internet ── gateway ── eth1 ── LAN's router (dnsmasq: DHCP, RA), which is the host as well
"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.dnsmasq import alone
from tests.lab.mesh import ControlServer, Gateway, fetch, page, web_server
from tests.lab.processes import Process, wait_until
from tests.lab.topology import Internet

if TYPE_CHECKING:
    from tests.lab.namespaces import Lab

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(180)]

LEASED = """#!/bin/sh
case "$1" in
    bound|renew) ip addr flush dev "$interface" scope global && ip addr add "$ip/$mask" dev "$interface" ;;
esac
"""
POLICY = {
    "acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}],
    "autoApprovers": {"routes": {"10.0.0.0/8": ["autogroup:member"], "fd00::/8": ["autogroup:member"]}},
}
GUEST = "10.99.0.0/24"


class World:
    def __init__(self, lab: Lab, directory: Path) -> None:
        internet = Internet(lab)
        self.directory = directory
        self.control = ControlServer(internet.server("control", 1), directory / "control")
        self.gateway = Gateway(internet.server("gateway", 10), directory / "gateway")
        self.client = Gateway(internet.server("client", 20), directory / "client")
        self.lan = lab.namespace("lan")
        self.host = self.gateway.host
        lab.cable(self.lan, "eth0", self.host, "eth1")
        self.host.sysctl("net.ipv6.conf.eth1.accept_ra", 2)
        page(directory / "web", "page of the LAN")
        web_server(self.lan, "::", directory / "web")
        self.dnsmasq: Process | None = None

    def join(self) -> None:
        self.control.start()
        policy = self.directory / "policy.json"
        policy.write_text(json.dumps(POLICY))
        assert self.control.run("policy", "set", str(policy)).code == 0
        for node, name, options in ((self.gateway, "gateway", ()), (self.client, "client", ("--accept-routes",))):
            node.start()
            node.up(self.control.pre_auth_key("demo"), "--hostname", name, *options)

    def serve(self, number: int) -> None:
        """The LAN is 10.<number>.0.0/24 and fd00:<number>::/64 from now on; hosts have no other address there."""
        if self.dnsmasq is not None:
            self.dnsmasq.stop()
        self.lan.ip("addr flush dev eth0 scope global")
        self.lan.ip(f"addr add 10.{number}.0.1/24 dev eth0")
        self.lan.ip(f"addr add fd00:{number}::1/64 dev eth0 nodad")
        ranges = (f"--dhcp-range=10.{number}.0.50,10.{number}.0.99,2m", f"--dhcp-range=fd00:{number}::,ra-only,64,2m")
        files = (f"--dhcp-leasefile={self.directory}/leases", "--user=root")
        options = ("--port=0", "--enable-ra", "--ra-param=eth0,4,120", "--dhcp-authoritative", *ranges, *files)
        self.dnsmasq = self.lan.start("dnsmasq", "dnsmasq", *alone(), *options)

    def lease(self) -> None:
        """One round of a DHCP client."""
        script = self.directory / "leased.sh"
        script.write_text(LEASED)
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        self.host.run("busybox", "udhcpc", "-i", "eth1", "-n", "-q", "-t", "8", "-s", str(script))

    def offered(self) -> set[str]:
        return set(self.gateway.status()["self_node"]["advertised_routes"])

    def comes(self, number: int) -> bool:
        """The LAN's page at the client, in both IP versions."""
        urls = f"http://10.{number}.0.1/", f"http://[fd00:{number}::1]/"
        return [fetch(self.client.host, url, 2) for url in urls] == ["page of the LAN"] * 2


def test_ok__what_dhcp_and_router_advertisements_give(lab: Lab, tmp_path: Path) -> None:
    world = World(lab, tmp_path)
    world.join()
    world.host.ip("link add guest0 type veth peer name guest1")
    for name in ("guest0", "guest1"):
        world.host.ip(f"link set {name} up")
    world.host.ip("addr add 10.99.0.1/24 dev guest0")
    world.gateway.must("plugins", "config", "subnet_router", "auto=true", f'auto_except=["{GUEST}"]')
    world.serve(1)
    world.lease()
    wait_until(lambda: world.offered() == {"10.1.0.0/24", "fd00:1::/64"}, 40, "the LAN to be offered")
    wait_until(lambda: world.comes(1), 40, "the LAN's page at the client")

    # The LAN is renumbered: the former prefix is not announced any more, and goes when its time is up.
    world.host.ip("addr flush dev eth1 scope global")
    world.serve(2)
    world.lease()
    wait_until(lambda: world.offered() == {"10.2.0.0/24", "fd00:2::/64"}, 40, "the new networks alone")
    wait_until(lambda: world.comes(2), 40, "the LAN's page at its new addresses")
    assert not world.comes(1)

    # The client takes what it names, and no more.
    world.client.must("plugins", "config", "subnet_router", 'accept_only=["fd00::/8"]')
    urls = "http://10.2.0.1/", "http://[fd00:2::1]/"
    wait_until(lambda: fetch(world.client.host, urls[0], 1) is None, 20, "the route by IPv4 to go")
    assert fetch(world.client.host, urls[1], 5) == "page of the LAN"

    # What is excepted later goes as well; an interface may be named.
    world.gateway.must("plugins", "config", "subnet_router", 'auto_except=["eth1"]')
    wait_until(lambda: world.offered() == {GUEST}, 20, "the guests' network alone")
