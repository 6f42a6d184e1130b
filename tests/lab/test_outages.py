"""What goes away and comes back under a running transfer: UDP, control, the relay, the peer's address. No reset."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.processes import wait_until
from tests.lab.sites import TwoSites, two_sites, wait_for_page
from tests.lab.topology import NatKind

if TYPE_CHECKING:
    from tests.lab.namespaces import Lab, Namespace
    from tests.lab.processes import Process

pytestmark = [pytest.mark.lab, pytest.mark.timeout(90)]

MEGABYTES = 20
BYTES = MEGABYTES << 20

TRANSFER = """
import hashlib, sys, time, urllib.request
rate = int(sys.argv[2])
with urllib.request.urlopen(sys.argv[1], timeout=float(sys.argv[3])) as page:
    digest, total, started = hashlib.sha256(), 0, time.monotonic()
    while data := page.read(16384):
        digest.update(data)
        total += len(data)
        print(total, flush=True)
        time.sleep(max(0, started + total / rate - time.monotonic()))
print("done", digest.hexdigest(), flush=True)
"""
"""Takes a page at a rate (bytes/s) over one TCP connection, so that it still runs when something happens to it.

Arguments: URL, rate, seconds without a byte after which it gives up.
"""


@dataclass
class Transfer:
    """One download that a test disturbs."""

    process: Process

    @classmethod
    def start(cls, host: Namespace, url: str, seconds: float) -> Transfer:
        return cls(host.start("transfer", sys.executable, "-c", TRANSFER, url, str(int(BYTES / seconds)), "30"))

    @property
    def received(self) -> int:
        lines = [line for line in self.process.output().splitlines() if line.isdigit()]
        return int(lines[-1]) if lines else 0

    def progress(self, what: str, timeout_s: float = 10) -> float:
        """Wait until a further quarter of a megabyte came; the seconds it took."""
        target = self.received + (1 << 18)
        assert target < BYTES, "the transfer is over: nothing was disturbed"

        def came() -> bool:
            assert self.process.running or self.received >= target, self.process.output()[-2000:]
            return self.received >= target

        return wait_until(came, timeout_s, f"the transfer to go on {what}")

    def finish(self, digest: str, timeout_s: float = 40) -> None:
        wait_until(lambda: not self.process.running, timeout_s, "the end of the transfer")
        assert f"done {digest}" in self.process.output(), self.process.output()[-2000:]


def joined(lab: Lab, directory: Path, kind: NatKind, path: str) -> TwoSites:
    sites = two_sites(lab, directory, kind, kind, MEGABYTES)
    sites.join()
    wait_for_page(sites)
    sites.a.wait_for_path("gateway-b", path)
    return sites


@pytest.mark.timeout(180)
def test_ok__udp_is_cut_and_comes_back(lab: Lab, tmp_path: Path) -> None:
    """From direct to DERP and back to direct under one connection."""
    sites = joined(lab, tmp_path, NatKind.EASY, "direct")
    transfer = Transfer.start(sites.site_a.host, f"{sites.url}/large.bin", 20)
    transfer.progress("before")
    sites.site_a.set_udp(blocked=True)
    gap_s = transfer.progress("by DERP", 15)
    print(f"\ntransfer goes on {gap_s:.1f} s after UDP is cut")
    sites.a.wait_for_path("gateway-b", "derp")
    sites.site_a.set_udp(blocked=False)
    sites.a.wait_for_path("gateway-b", "direct", 60)
    transfer.finish(sites.large_hash, 60)


def test_ok__control_stops_for_a_while(lab: Lab, tmp_path: Path) -> None:
    sites = joined(lab, tmp_path, NatKind.EASY, "direct")
    transfer = Transfer.start(sites.site_a.host, f"{sites.url}/large.bin", 12)
    transfer.progress("before control stops")
    assert sites.control.process is not None
    sites.control.process.kill()
    wait_until(lambda: not sites.a.status()["control"]["connected"], 10, "the gateway to notice")
    transfer.progress("without control")
    assert sites.page_comes(), "new connections work without control too"
    assert sites.a.path_to("gateway-b") == "direct"
    sites.control.start()
    wait_until(lambda: sites.a.status()["control"]["connected"], 20, "the gateway to be back at control")
    assert transfer.process.running, "control was away for less than the transfer"
    transfer.finish(sites.large_hash)


def test_ok__relay_is_killed_under_a_direct_path(lab: Lab, tmp_path: Path) -> None:
    """Control and relay are one process here: both are gone, the direct path is not touched."""
    sites = joined(lab, tmp_path, NatKind.EASY, "direct")
    transfer = Transfer.start(sites.site_a.host, f"{sites.url}/large.bin", 8)
    transfer.progress("before")
    assert sites.control.process is not None
    sites.control.process.kill()
    wait_until(lambda: not sites.a.status()["derp"]["connected"], 10, "the gateway to notice")
    transfer.progress("without relay")
    transfer.finish(sites.large_hash)
    sites.control.start()
    wait_until(lambda: sites.a.status()["derp"]["connected"], 20, "the relay connection")


def test_ok__relay_is_killed_under_a_relayed_transfer(lab: Lab, tmp_path: Path) -> None:
    """There is no other path: the transfer stands while the relay is away and goes on when it is back."""
    sites = joined(lab, tmp_path, NatKind.UDP_BLOCKED, "derp")
    transfer = Transfer.start(sites.site_a.host, f"{sites.url}/large.bin", 8)
    transfer.progress("before")
    assert sites.control.process is not None
    sites.control.process.kill()
    sites.control.start()
    back_s = transfer.progress("with the relay back", 25)
    print(f"\nrelayed transfer goes on {back_s:.1f} s after the relay is back")
    transfer.finish(sites.large_hash)


def test_ok__peer_roams_to_a_new_address(lab: Lab, tmp_path: Path) -> None:
    """The web server's gateway gets another uplink network, and its NAT box another public address."""
    sites = joined(lab, tmp_path, NatKind.EASY, "direct")
    transfer = Transfer.start(sites.site_a.host, f"{sites.url}/large.bin", 12)
    transfer.progress("before")
    router, gateway = sites.site_b.router, sites.site_b.gateway
    router.ip("addr del 203.0.113.20/24 dev wan")
    router.ip("addr add 203.0.113.77/24 dev wan")
    router.ip("addr add 192.168.99.1/24 dev lan")
    gateway.ip("addr add 192.168.99.2/24 dev eth0")
    gateway.ip("route replace default via 192.168.99.1 src 192.168.99.2")
    gap_s = transfer.progress("from the new address", 15)
    print(f"\ntransfer goes on {gap_s:.1f} s after the move")
    transfer.finish(sites.large_hash)
    sites.a.wait_for_path("gateway-b", "direct", 20)
    peer = next(peer for peer in sites.a.status()["peers"] if peer["name"].startswith("gateway-b"))
    assert peer["path"]["endpoint"].startswith("203.0.113.77:")
