"""Whole gateways on the kernel's WireGuard, with control and DERP: run inside the guest (`make qemu`)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.engine.kernel.steering import TABLE as STEERING
from tests.lab.mesh import PROGRAMS, command
from tests.lab.namespaces import Lab, Namespace
from tests.lab.processes import wait_until
from tests.lab.sites import two_sites
from tests.lab.topology import NatKind
from tests.qemu.guest.gateways import (
    MEGABYTES,
    SLOW,
    Download,
    joined,
    network,
    wait_for_direct,
    wait_for_network,
    wait_for_page,
)

pytestmark = pytest.mark.timeout(1700)

NO_FIB = Path("/etc/modprobe.d/waypost-test.conf")
"""/etc is this machine's own and goes with it."""


def tables_of(host: Namespace) -> list[str]:
    return sorted(host.run("nft", "list", "tables").splitlines())


def test_ok__direct_relayed_and_direct_again_under_a_download(lab: Lab, tmp_path: Path) -> None:
    sites = two_sites(lab, tmp_path, megabytes=MEGABYTES)
    joined(sites)
    tables = tables_of(sites.a.host)
    assert f"table inet {STEERING}" in tables
    sites.a.host.nft("flush ruleset")  # path finding below needs the rules at the port
    flushed = time.monotonic()
    wait_until(lambda: tables_of(sites.a.host) == tables, SLOW, "the flushed tables to be put back")
    print(f"flushed tables were back after {time.monotonic() - flushed:.1f} s")
    download = Download(sites, 20_000)
    sites.site_a.set_udp(blocked=True)
    cut = time.monotonic()
    sites.a.wait_for_path("gateway-b", "derp", 60)
    print(f"on the relay {time.monotonic() - cut:.1f} s after UDP was cut")
    wait_for_page(sites)
    sites.site_a.set_udp(blocked=False)
    wait_for_direct(sites)
    assert download.running, "the download ended before the paths were walked"
    download.finish()


def test_ok__killed_gateway_leaves_the_kernel_forwarding_and_takes_it_over(lab: Lab, tmp_path: Path) -> None:
    sites = two_sites(lab, tmp_path, megabytes=MEGABYTES)
    before = network(sites.a.host)
    joined(sites)
    sites.a.kill()
    wait_for_page(sites, 5)
    download = Download(sites, 40_000)
    sites.a.start()
    wait_for_direct(sites)
    download.finish()
    sites.a.kill()
    places = ("--state-dir", str(sites.a.directory / "state"), "--socket", str(sites.a.socket))
    cleaned = command(sites.a.host, str(PROGRAMS / "waypostd"), "--clean-up", *places)
    assert cleaned.code == 0, cleaned.stderr
    wait_for_network(sites.a.host, before, "the clean-up to leave nothing")
    sites.a.start()
    wait_for_page(sites)
    sites.a.must("down")
    assert sites.a.process is not None
    sites.a.process.stop()
    wait_for_network(sites.a.host, before, "the host's network to be as before")


def test_ok__kernel_engine_and_userspace_engine_and_a_relay_only(lab: Lab, tmp_path: Path) -> None:
    sites = two_sites(lab, tmp_path, NatKind.EASY, NatKind.UDP_BLOCKED, megabytes=1)
    config = tmp_path / "userspace.toml"
    config.write_text('version = 1\n[tunnel]\nengine = "userspace"\n')
    sites.b.options = ("--config", str(config))
    sites.join()
    wait_for_page(sites)
    kinds = [gateway.status()["engine"] for gateway in (sites.a, sites.b)]
    assert kinds == ["kernel", "userspace"]
    assert sites.a.path_to("gateway-b") == "derp"
    Download(sites, 1_000_000).finish()
    sites.site_b.router.nft("flush ruleset")
    sites.site_b.router.nft(
        "table ip nat { chain post { type nat hook postrouting priority 100; oifname wan masquerade; }; }"
    )
    sites.a.wait_for_path("gateway-b", "direct", SLOW)
    Download(sites, 1_000_000).finish()


@pytest.fixture
def kernel_without_fib() -> Iterator[None]:
    """As long as nobody used it: the module is not loaded any more."""
    NO_FIB.parent.mkdir(exist_ok=True)
    NO_FIB.write_text("install nft_fib_inet /bin/false\n")
    yield
    NO_FIB.unlink()


@pytest.mark.usefixtures("kernel_without_fib")
def test_ok__raw_sockets_where_the_kernel_lacks_fib(lab: Lab, tmp_path: Path) -> None:
    sites = two_sites(lab, tmp_path, megabytes=1)
    sites.join()
    for gateway in (sites.a, sites.b):
        status = gateway.status()
        assert status["engine"] == "kernel"
        assert status["engine_reason"].startswith("the kernel has WireGuard; raw sockets share its port: nft refused")
        assert "waypost_port" not in gateway.host.run("nft", "list", "tables")
    assert "raw sockets share its port" in sites.a.must("status")
    wait_for_page(sites)
    wait_for_direct(sites)
    Download(sites, 1_000_000).finish()
