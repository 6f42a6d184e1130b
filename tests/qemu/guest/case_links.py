"""What happens to a path of the kernel while one download runs over it: run inside the guest (`make qemu`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.namespaces import Lab
from tests.lab.processes import wait_until
from tests.lab.sites import TwoSites, two_sites
from tests.qemu.guest.gateways import SLOW, Download, joined, wait_for_direct

pytestmark = pytest.mark.timeout(1700)

RATE = 15_000
REKEY_AFTER_S = 120
"""WireGuard's own (magicsock-disco spec 2.4)."""


def device(sites: TwoSites, what: str) -> str:
    """What gateway-a's device says of its one peer."""
    return sites.a.host.run("wg", "show", "waypost0", what).split("\t")[1].strip()


def passes_directly(sites: TwoSites) -> bool:
    """A page comes and costs the gateway no relayed packet."""
    return sites.page_comes() and not device(sites, "endpoints").startswith("127.")


def test_ok__bad_link_another_address_and_new_keys_under_one_download(lab: Lab, tmp_path: Path) -> None:
    sites = two_sites(lab, tmp_path, megabytes=6)
    joined(sites)
    first = int(device(sites, "latest-handshakes"))
    download = Download(sites, RATE)

    netem = ("netem", "delay", "40ms", "10ms", "loss", "2%")
    for site in (sites.site_a, sites.site_b):
        site.router.run("tc", "qdisc", "add", "dev", "wan", "root", *netem)
    for _ in range(5):
        wait_until(lambda: passes_directly(sites), SLOW, "direct pages on a slow and lossy link")
    wait_for_direct(sites)
    for site in (sites.site_a, sites.site_b):
        site.router.run("tc", "qdisc", "del", "dev", "wan", "root")

    # The peer's site gets another uplink network, and its NAT box another public address.
    router, gateway = sites.site_b.router, sites.site_b.gateway
    assert device(sites, "endpoints").startswith("203.0.113.20:")
    router.ip("addr del 203.0.113.20/24 dev wan")
    router.ip("addr add 203.0.113.77/24 dev wan")
    router.ip("addr add 192.168.99.1/24 dev lan")
    gateway.ip("addr add 192.168.99.2/24 dev eth0")
    gateway.ip("route replace default via 192.168.99.1 src 192.168.99.2")
    moved_s = wait_until(
        lambda: sites.page_comes() and device(sites, "endpoints").startswith("203.0.113.77:"), SLOW, "the new address"
    )
    print(f"at the new address after {moved_s:.1f} s, as pages show it")
    wait_for_direct(sites)

    wait_until(
        lambda: sites.page_comes() and int(device(sites, "latest-handshakes")) >= first + REKEY_AFTER_S - 1,
        2 * REKEY_AFTER_S,
        "new session keys",
    )
    assert passes_directly(sites)
    assert download.running, "the download ended before all of it happened"
    download.finish()
