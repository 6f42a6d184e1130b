"""A region of two relays: gateways on different ones meet, because the relays know of each other.

    gateway-a - NAT without UDP ---- internet ---- NAT without UDP - gateway-b
                                     /      \\
        derp-a (203.0.113.2) == mesh ========= derp-b (203.0.113.3)      gateway-b cannot reach derp-a
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.mesh import PROGRAMS, ControlServer, Gateway, command, fetch_hash, large_file, page, web_server
from tests.lab.processes import Process, wait_until
from tests.lab.sites import GREETING, TwoSites, wait_for_page
from tests.lab.topology import Internet, NatKind, site

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.namespaces import Lab, Namespace

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(240)]

MEGABYTES = 4


@dataclass
class Relay:
    host: Namespace
    ip: str
    directory: Path
    cert_name: str = ""
    process: Process | None = None

    def start(self, *options: str) -> None:
        self.process = self.host.start(
            f"derp{len(options)}",
            str(PROGRAMS / "waypost-derp"),
            *("--host", self.ip, "--name", self.ip, "--state-dir", str(self.directory)),
            *("--metrics", f"{self.ip}:9471", *options),
            env={"PYTHONUNBUFFERED": "1"},
        )
        self.process.wait_for_output("CertName ", 30)
        self.cert_name = self.process.output().partition("CertName ")[2].split()[0]

    def metric(self, name: str) -> int:
        text = command(self.host, "curl", "-sS", f"http://{self.ip}:9471/metrics").stdout
        return int(text.partition(f"\nwaypost_derp_{name} ")[2].split("\n")[0] or 0)


def region(relays: list[Relay]) -> dict[str, Any]:
    nodes = [
        {
            "Name": f"901{letter}",
            "RegionID": 901,
            "HostName": relay.ip,
            "CertName": relay.cert_name,
            "IPv4": relay.ip,
            "IPv6": "none",
        }
        for letter, relay in zip("ab", relays, strict=True)
    ]
    return {"Regions": {"901": {"RegionID": 901, "RegionCode": "two", "RegionName": "Two", "Nodes": nodes}}}


def started(internet: Internet, directory: Path) -> list[Relay]:
    """Both once, to make their certificates, and again with the mesh."""
    relays = [
        Relay(internet.server(f"derp-{name}", number), f"203.0.113.{number}", directory / f"derp-{name}")
        for name, number in (("a", 2), ("b", 3))
    ]
    (directory / "mesh.key").write_text("5a" * 32)
    for relay in relays:
        relay.start()
        assert relay.process is not None
        relay.process.stop()
    peers = [f"--mesh-peer={relay.ip}:443#{relay.cert_name}" for relay in relays]
    for relay in relays:
        relay.start("--mesh-key-file", str(directory / "mesh.key"), *peers)
    wait_until(lambda: all(relay.metric("current_keys") == 1 for relay in relays), 30, "the mesh of both relays")
    return relays


def test_ok__gateways_on_different_relays_of_one_region_meet(lab: Lab, tmp_path: Path) -> None:
    internet = Internet(lab)
    relays = started(internet, tmp_path)
    (tmp_path / "map.json").write_text(json.dumps(region(relays)))
    (tmp_path / "control.toml").write_text(f'version = 1\n[derp_map]\nfiles = ["{tmp_path / "map.json"}"]\n')
    options = ("--no-derp", "--config", str(tmp_path / "control.toml"))
    control = ControlServer(internet.server("control", 1), tmp_path / "control", options)
    control.start()
    site_a, site_b = (site(internet, name, index, NatKind.UDP_BLOCKED) for name, index in (("a", 10), ("b", 20)))
    site_b.router.nft("""table inet wall {
        chain forward {
            type filter hook forward priority -10; policy accept;
            ip daddr 203.0.113.2 meta l4proto tcp reject with tcp reset
        }
    }""")
    site_a.route_to(site_b)
    site_b.route_to(site_a)
    page(tmp_path / "web", GREETING)
    digest = large_file(tmp_path / "web", MEGABYTES)
    web_server(site_b.host, site_b.host_ip, tmp_path / "web")
    gateways = (Gateway(site_a.gateway, tmp_path / "a"), Gateway(site_b.gateway, tmp_path / "b"))
    sites = TwoSites(internet, control, site_a, site_b, *gateways, tmp_path)
    sites.join()
    wait_for_page(sites, 60)
    assert sites.a.path_to("gateway-b") == "derp"
    found, _ = fetch_hash(site_a.host, f"{sites.url}/large.bin", 60)
    assert found == digest
    # The file comes from gateway-b's side; the other way only acknowledgements go.
    for relay, least in zip(relays, (20, 500 * MEGABYTES), strict=True):
        assert relay.metric("packets_forwarded_out") > least, relay.ip
        assert relay.metric("current_home_connections") == 1, "each gateway has its own"
