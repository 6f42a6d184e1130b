"""What a gateway at a remote site lives through: control away at a restart, another address, a pulled cable."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.lab.namespaces import Lab
from tests.lab.processes import Process, wait_until
from tests.lab.sites import TwoSites, two_sites, wait_for_page

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

MEGABYTES = 24
RATE = "4M"


def joined(lab: Lab, directory: Path, megabytes: int = 0) -> TwoSites:
    sites = two_sites(lab, directory, megabytes=megabytes)
    sites.join()
    wait_for_page(sites)
    sites.a.wait_for_path("gateway-b", "direct")
    return sites


def test_ok__killed_gateway_works_while_control_is_away(lab: Lab, tmp_path: Path) -> None:
    """Control is the only relay too, so nothing but the direct path is left."""
    sites = joined(lab, tmp_path)
    before = sites.a.status()["self_node"]["addresses"]
    assert sites.a.process is not None
    assert sites.a.process.stop() == 0  # an orderly end writes at once what else waits for up to a minute
    sites.a.start()
    wait_for_page(sites)
    sites.a.wait_for_path("gateway-b", "direct")
    assert sites.control.process is not None
    sites.control.process.stop()
    assert sites.page_comes()
    sites.a.kill()
    sites.a.start()
    wait_for_page(sites, 20)
    status = sites.a.status()
    assert status["state"] == "running"
    assert status["self_node"]["addresses"] == before
    assert status["control"]["saved_netmap"] is not None
    assert "on the saved netmap of" in sites.a.must("status")
    assert "control unreachable since" in sites.a.must("status")
    wait_until(lambda: "saved-netmap" in {item["code"] for item in sites.a.status()["health"]}, 15, "the health item")
    sites.control.start()
    wait_until(lambda: sites.a.status()["control"]["connected"], 30, "control to be heard again")
    assert not {"saved_netmap", "unreachable_since"} & {k for k, v in sites.a.status()["control"].items() if v}
    assert sites.page_comes()


def network_changes(sites: TwoSites) -> int:
    """How often gateway A noticed that its host's network changed."""
    assert sites.a.process is not None
    return sites.a.process.output().count("the host's network changed")


class Download:
    """One HTTP transfer over one TCP connection, slow enough to be disturbed."""

    def __init__(self, sites: TwoSites, target: Path) -> None:
        self.target = target
        command = ("curl", "-sS", "--fail", "--limit-rate", RATE, "-o", str(target), f"{sites.url}/large.bin")
        self.process: Process = sites.site_a.host.start("curl", *command)

    @property
    def size(self) -> int:
        return self.target.stat().st_size if self.target.exists() else 0

    def wait_for_more(self, timeout_s: float = 20) -> None:
        reached = self.size
        wait_until(lambda: self.size > reached + 2**20 or not self.process.running, timeout_s, "the transfer to go on")

    def finish(self) -> str:
        wait_until(lambda: not self.process.running, 60, "the transfer to end")
        assert self.process.popen.returncode == 0, self.process.output()
        return hashlib.sha256(self.target.read_bytes()).hexdigest()


def test_ok__transfer_survives_another_address_and_a_pulled_cable(lab: Lab, tmp_path: Path) -> None:
    sites = joined(lab, tmp_path, MEGABYTES)
    gateway, host = sites.site_a.gateway, sites.site_a.host
    download = Download(sites, tmp_path / "got.bin")
    download.wait_for_more()

    # the site's network gives the gateway another address
    gateway.sysctl("net.ipv4.conf.all.promote_secondaries", 1)
    gateway.ip("addr add 192.168.10.3/24 dev eth0")
    host.ip(f"route replace {sites.site_b.lan} via 192.168.10.3")
    gateway.ip("addr del 192.168.10.2/24 dev eth0")
    gateway.ip("route replace default via 192.168.10.1")
    download.wait_for_more()
    assert sites.a.process is not None
    sites.a.process.wait_for_output("the host's network changed")
    wait_until(
        lambda: any(each.startswith("192.168.10.3:") for each in sites.a.status()["self_node"]["endpoints"]),
        10,
        "the new address among the gateway's endpoints",
    )

    # the cable is pulled and put back
    noticed = network_changes(sites)
    gateway.ip("link set eth0 down")
    wait_until(lambda: network_changes(sites) > noticed, 10, "the gateway to notice")
    gateway.ip("link set eth0 up")
    gateway.ip("route add default via 192.168.10.1")
    download.wait_for_more(30)
    assert download.finish() == sites.large_hash
    sites.a.wait_for_path("gateway-b", "direct")
