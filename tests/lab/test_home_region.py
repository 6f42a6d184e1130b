"""The home region's relay dies for good: another region becomes home, and what ran goes on.

gateway-a ── nat-a ──┬── internet ──┬── nat-b ── gateway-b
                derp 901 (.2)    derp 902 (.3)      control without a relay (.1)
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.processes import wait_until
from tests.lab.sites import TwoSites, two_sites, wait_for_page
from tests.lab.test_derp_mesh import Relay
from tests.lab.test_outages import MEGABYTES, Transfer
from tests.lab.topology import NatKind

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.namespaces import Lab

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(400)]


def regions(relays: dict[int, Relay]) -> dict[str, Any]:
    def region(number: int, relay: Relay) -> dict[str, Any]:
        node = {"Name": f"{number}a", "RegionID": number, "HostName": relay.ip, "CertName": relay.cert_name}
        nodes = [{**node, "IPv4": relay.ip, "IPv6": "none"}]
        return {"RegionID": number, "RegionCode": f"r{number}", "RegionName": f"Region {number}", "Nodes": nodes}

    return {"Regions": {str(number): region(number, relay) for number, relay in relays.items()}}


def home(sites: TwoSites, which: str) -> int:
    derp = getattr(sites, which).status()["derp"]
    return int(derp["region_id"]) if derp["connected"] else 0


def test_ok__another_region_becomes_home_under_a_transfer(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "control.toml").write_text(f'version = 1\n[derp_map]\nfiles = ["{tmp_path / "map.json"}"]\n')
    relays: dict[int, Relay] = {}

    def before_control(internet: Any) -> None:
        for number in (901, 902):
            ip = f"203.0.113.{number - 899}"
            relays[number] = Relay(internet.server(f"derp-{number}", number - 899), ip, tmp_path / f"derp-{number}")
            relays[number].start()
        (tmp_path / "map.json").write_text(json.dumps(regions(relays)))

    sites = two_sites(
        lab,
        tmp_path,
        NatKind.EASY,
        NatKind.EASY,
        MEGABYTES,
        control_options=("--no-derp", "--config", str(tmp_path / "control.toml")),
        before_control=before_control,
    )
    sites.join()
    wait_for_page(sites)
    sites.a.wait_for_path("gateway-b", "direct", 60)
    wait_until(lambda: home(sites, "a") and home(sites, "b"), 60, "both to have a home region")
    transfer = Transfer.start(sites.site_a.host, f"{sites.url}/large.bin", 90)
    transfer.progress("before")
    dead = home(sites, "a")
    relay = relays[dead].process
    assert relay is not None
    relay.kill()
    wait_until(lambda: home(sites, "a") not in (0, dead), 120, "another home region")
    wait_until(lambda: home(sites, "b") not in (0, dead), 120, "the other gateway to have a living one too")
    transfer.progress("with another home region")
    sites.site_a.set_udp(blocked=True)
    transfer.progress("through the new home region", 25)
    sites.a.wait_for_path("gateway-b", "derp")
    transfer.finish(sites.large_hash, 120)
