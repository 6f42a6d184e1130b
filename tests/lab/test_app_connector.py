"""A site's host reaches chosen names from the connector's address, all others from its own, in both IP versions.

             internet 203.0.113.0/24
        /        |          |            \\
    control    names     servers .61-.64   nat-a (.10) ── gateway-a ── host-a
             (dnsmasq)  (say who asks)     nat-b (.20) ── gateway-b, the connector
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.dnsmasq import alone
from tests.lab.mesh import command, fetch
from tests.lab.processes import Process, wait_until
from tests.lab.sites import TwoSites, two_sites
from tests.lab.test_exit import add_ipv6

if TYPE_CHECKING:
    from tests.lab.namespaces import Lab, Namespace

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

NAMES_IP = "203.0.113.53"
APP, OTHER, MOVED = "203.0.113.61", "203.0.113.62", "203.0.113.63"
SITE_A, SITE_B = "203.0.113.10", "203.0.113.20"
V6 = {ip: f"2001:db8::{ip.rpartition('.')[2]}" for ip in (APP, OTHER, MOVED, SITE_A, SITE_B)}
"""Each of them by IPv6."""
POLICY = {
    "tagOwners": {"tag:connector": ["autogroup:admin"]},
    "acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}],
    "autoApprovers": {"routes": {"0.0.0.0/0": ["tag:connector"], "::/0": ["tag:connector"]}},
    "nodeAttrs": [
        {
            "target": ["tag:connector"],
            "app": {
                "tailscale.com/app-connectors": [
                    {"name": "shop", "connectors": ["tag:connector"], "domains": ["shop.example", "*.cdn.example"]}
                ]
            },
        }
    ],
}
OWN_ROUTER = """table inet own {
    chain out { type nat hook postrouting priority 110;
        ip saddr 192.168.10.10 oifname "eth0" masquerade
        ip6 saddr 2001:db8:10::10 oifname "eth0" masquerade
    }
}"""
"""Gateway-a is the router of its site as well."""
SERVER = """
import http.server, socket, sys
class Mirror(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        seen = self.client_address[0].removeprefix("::ffff:")
        self.send_response(200); self.end_headers(); self.wfile.write(seen.encode())
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
print("Serving", flush=True)
Server(("::", 80), Mirror).serve_forever()
"""


@dataclass
class World:
    sites: TwoSites
    hosts: Path
    dnsmasq: Process

    def say(self, **names: str) -> None:
        """What the names are from now on."""
        lines = (f"{each} {name.replace('_', '.')}\n" for name, ip in names.items() for each in (ip, V6[ip]))
        self.hosts.write_text("".join(lines))
        self.dnsmasq.popen.send_signal(1)  # SIGHUP: read the file again

    def look_up(self, name: str, kind: str = "A") -> list[str]:
        """As the site's host does: at its gateway."""
        server = self.sites.site_a.gateway_ip
        words = ("dig", f"@{server}", "+short", "+time=8", "+tries=1", name, kind)
        result = command(self.sites.site_a.host, *words)
        return result.stdout.split() if result.code == 0 else []

    def leaves_from(self, name: str) -> str | None:
        """The address that a server on the Internet sees."""
        found = self.look_up(name)
        return fetch(self.sites.site_a.host, f"http://{found[-1]}/", 4) if found else None

    def leaves_by_v6_from(self, name: str) -> str | None:
        found = self.look_up(name, "AAAA")
        return fetch(self.sites.site_a.host, f"http://[{found[-1]}]/", 4) if found else None


@pytest.fixture
def world(lab: Lab, tmp_path: Path) -> World:
    sites = two_sites(lab, tmp_path)
    for site in (sites.site_a, sites.site_b):
        add_ipv6(site)
    names = sites.internet.server("names", 53)
    hosts = tmp_path / "names"
    hosts.write_text("")
    options = ("--no-resolv", "--no-hosts", f"--addn-hosts={hosts}", "--local-ttl=1", "--user=root")
    aliases = ("--cname=www.shop.example,edge.cdn.example", "--cname=pay.other.example,shop.example")
    dnsmasq = names.start("dnsmasq", "dnsmasq", *alone(), *options, *aliases)
    for number in (61, 62, 63):
        server: Namespace = sites.internet.server(f"server-{number}", number)
        server.start("web", sys.executable, "-c", SERVER).wait_for_output("Serving")
    made = World(sites, hosts, dnsmasq)
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps(POLICY))
    result = sites.control.run("policy", "set", str(policy))
    assert result.code == 0, result.stderr
    return made


def join(sites: TwoSites) -> None:
    for gateway, name, options in ((sites.b, "gateway-b", ("--tags", "tag:connector")), (sites.a, "gateway-a", ())):
        gateway.start()
        site = sites.site_a if gateway is sites.a else sites.site_b
        key = sites.control.pre_auth_key("demo", *options)
        networks = f"{site.lan},2001:db8:{site.index}::/64"
        gateway.up(key, "--hostname", name, "--advertise-routes", networks, "--accept-routes")
        gateway.must("plugins", "config", "magicdns", f'upstreams=["{NAMES_IP}"]', "serve_lan=true")
    sites.control.json("routes", "approve", "gateway-a")
    sites.control.json("routes", "approve", "gateway-b")
    sites.b.must("plugins", "config", "app_connector", "advertise=true")
    sites.site_a.gateway.nft(OWN_ROUTER)
    sites.site_a.gateway.sysctl("net.ipv6.conf.all.forwarding", 1)
    sites.site_a.host.ip(f"route add default via {sites.site_a.gateway_ip}")
    sites.site_a.host.ip("route add default via 2001:db8:10::2")


def offers(*addresses: str) -> set[str]:
    """The routes to these servers, in both IP versions."""
    return {f"{each}/32" for each in addresses} | {f"{V6[each]}/128" for each in addresses}


def learned(sites: TwoSites) -> list[str]:
    found: list[str] = json.loads(sites.b.must("plugins", "run", "app_connector", "routes"))["routes"]
    return found


def test_ok__chosen_names_leave_by_the_connector(world: World) -> None:
    sites = world.sites
    world.say(shop_example=APP, edge_cdn_example=APP, other_example=OTHER, plain_example=OTHER)
    join(sites)
    # Control tells gateway-a who looks the names up. Before a name was asked for nothing is learned; the first question
    # teaches the connector.
    assert fetch(sites.site_a.host, f"http://{APP}/", 4) == SITE_A
    wait_until(lambda: world.leaves_from("shop.example") == SITE_B, 40, "the app to leave by the connector")
    wait_until(lambda: world.leaves_by_v6_from("shop.example") == V6[SITE_B], 40, "the app to leave so by IPv6")
    assert set(learned(sites)) == offers(APP)
    # An alias of the app to a name outside of its domains' own zone shares the address, and the way.
    assert world.look_up("www.shop.example")[-1] == APP
    assert world.leaves_from("edge.cdn.example") == SITE_B
    assert world.leaves_by_v6_from("edge.cdn.example") == V6[SITE_B]
    assert world.leaves_from("plain.example") == SITE_A, "others are untouched"
    assert world.leaves_by_v6_from("plain.example") == V6[SITE_A]

    # The name moves: the new address follows, the old one stays until it is old.
    world.say(shop_example=MOVED, edge_cdn_example=APP, plain_example=OTHER)
    wait_until(lambda: world.look_up("shop.example") == [MOVED], 30, "the new address")
    wait_until(lambda: world.look_up("shop.example", "AAAA") == [V6[MOVED]], 30, "the new IPv6 address")
    wait_until(lambda: world.leaves_from("shop.example") == SITE_B, 40, "the new address to leave by the connector")
    wait_until(lambda: world.leaves_by_v6_from("shop.example") == V6[SITE_B], 40, "it to leave so by IPv6")
    assert set(learned(sites)) == offers(APP, MOVED)
    assert world.leaves_from("plain.example") == SITE_A

    told = sites.control.run("nodes", "c2n", "gateway-b", "/appconnector/routes")
    domains = json.loads(told.stdout)["Domains"]
    assert {APP, MOVED} <= set(domains["shop.example"]), "names that shared an address both keep it"
    assert APP in domains["edge.cdn.example"]

    # Kept over a restart, without a question.
    sites.b.process.stop() if sites.b.process is not None else None
    sites.b.start()
    wait_until(lambda: set(learned(sites)) == offers(APP, MOVED), 30, "what was learned to be there again")
    metrics = sites.b.must("metrics")
    assert 'waypost_app_addresses{app="shop"} 4' in metrics

    # Turned off, everything leaves as before.
    sites.b.must("plugins", "config", "app_connector", "advertise=false")
    wait_until(lambda: fetch(sites.site_a.host, f"http://{MOVED}/", 4) == SITE_A, 40, "the way without a connector")
