"""Whole gateways on the kernel's WireGuard, with control and DERP: run inside the guest (`make qemu`)."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.cli.client import LocalClient
from appliance.types.errors import ApplianceError
from tests.lab.mesh import PROGRAMS, ControlServer, Gateway, command
from tests.lab.namespaces import SEARCH_PATH, Lab
from tests.lab.processes import wait_until
from tests.lab.router_host import snapshot
from tests.lab.sites import TwoSites, two_sites
from tests.lab.topology import NatKind

pytestmark = pytest.mark.timeout(1700)

MEGABYTES = 4
SLOW = 120


def wait_for_page(sites: TwoSites, timeout_s: float = SLOW) -> float:
    return wait_until(sites.page_comes, timeout_s, "the web page of LAN B on LAN A")


class Download:
    """The large file of LAN B, fetched by LAN A for as long as the rate makes it."""

    def __init__(self, sites: TwoSites, bytes_per_s: int) -> None:
        command = f"curl -sS --fail --max-time 500 --limit-rate {bytes_per_s} {sites.url}/large.bin | sha256sum"
        self._wanted = sites.large_hash
        self._process = subprocess.Popen(
            [*sites.site_a.host.enter, "sh", "-c", command], stdout=subprocess.PIPE, text=True,
            env={"PATH": SEARCH_PATH},
        )  # fmt: skip

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def finish(self) -> None:
        output, _ = self._process.communicate(timeout=500)
        assert output.split()[0] == self._wanted, "the file came broken"


@pytest.fixture(autouse=True)
def asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs are asked by their sockets from here: to start a command takes seconds in an emulated machine."""
    monkeypatch.setattr(Gateway, "status", lambda self: json.loads(LocalClient(str(self.socket)).raw("status")))
    monkeypatch.setattr(Gateway, "_ready", _answers)
    monkeypatch.setattr(ControlServer, "_ready", lambda self: self.socket.exists())


def _answers(gateway: Gateway) -> bool:
    assert gateway.process is not None
    assert gateway.process.running, gateway.process.output()[-4000:]
    try:
        return bool(gateway.status())
    except ApplianceError:
        return False


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path / "logs") as built:
        yield built
    for log in sorted((tmp_path / "logs").glob("*waypostd*.log")):
        print(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}")


def network(sites: TwoSites) -> dict[str, str]:
    """What a gateway changes on its host, with its devices."""
    state = snapshot(sites.site_a.gateway)
    state["sysctl"] = "\n".join(line for line in state["sysctl"].splitlines() if re.search("forward|rp_filter", line))
    return state | {"links": sites.site_a.gateway.ip("-o link")}


def joined(sites: TwoSites) -> None:
    """Both gateways are on the kernel's WireGuard, with a direct path."""
    sites.join()
    status = sites.a.status()
    assert (status["engine"], status["engine_reason"]) == ("kernel", "the kernel has WireGuard")
    wait_for_page(sites)
    wait_for_direct(sites)


def wait_for_direct(sites: TwoSites) -> None:
    """Under traffic: an idle path is not looked for."""
    wait_until(lambda: sites.page_comes() and sites.a.path_to("gateway-b") == "direct", SLOW, "a direct path")


def test_ok__direct_relayed_and_direct_again_under_a_download(lab: Lab, tmp_path: Path) -> None:
    sites = two_sites(lab, tmp_path, megabytes=MEGABYTES)
    joined(sites)
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
    before = network(sites)
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
    assert network(sites) == before
    sites.a.start()
    wait_for_page(sites)
    sites.a.must("down")
    assert sites.a.process is not None
    sites.a.process.stop()
    wait_until(lambda: network(sites) == before, 30, "the host's network to be as before")


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
