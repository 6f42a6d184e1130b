"""Logins on real packets: by a page that the control server's command line approves, renewed under a transfer."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.lab.mesh import CONTROL_IP, CONTROL_URL, PROGRAMS, ControlServer, Gateway
from tests.lab.namespaces import Lab
from tests.lab.processes import Process, wait_until
from tests.lab.sites import TwoSites, two_sites, wait_for_page

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

MEGABYTES = 40
SECONDS = 10
LONGEST_PAUSE_S = 3


def waypost(gateway: Gateway, name: str, *arguments: str) -> Process:
    """A command that waits for a person."""
    return gateway.host.start(name, str(PROGRAMS / "waypost"), "--socket", str(gateway.socket), *arguments)


def approve(control: ControlServer, gateway: Gateway, command: Process, user: str = "demo") -> None:
    """Let the gateway in by the address that it shows, and wait for its command's end."""
    command.wait_for_output("/register/")
    (waiting,) = control.json("nodes", "pending")
    page = f"{CONTROL_URL}/register/{waiting['id']}"
    assert page in command.output()
    control.json("nodes", "register", page, "--user", user)
    wait_until(lambda: not command.running, 20, "waypost up to end")
    assert command.popen.returncode == 0, command.output()


@contextmanager
def transfer(sites: TwoSites) -> Iterator[subprocess.Popen[str]]:
    """The large file, slowly; curl gives up when nothing comes for too long."""
    limits = f"--limit-rate {MEGABYTES * 1_048_576 // SECONDS} --speed-limit 1 --speed-time {LONGEST_PAUSE_S}"
    script = f"curl -sS --fail {limits} {sites.url}/large.bin | sha256sum"
    fetch = subprocess.Popen([*sites.site_a.host.enter, "sh", "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        yield fetch
    finally:
        fetch.kill()
        fetch.communicate()


def received(gateway: Gateway) -> int:
    return sum(peer["rx_bytes"] for peer in gateway.status()["peers"])


def test_ok__page_renewal_and_logout(lab: Lab, tmp_path: Path) -> None:
    sites = two_sites(lab, tmp_path, megabytes=MEGABYTES)
    control, a, b = sites.control, sites.a, sites.b
    control.json("users", "create", "demo")
    options = {"gateway-a": (a, sites.site_a.lan), "gateway-b": (b, sites.site_b.lan)}
    for name, (gateway, lan) in options.items():
        gateway.start()
        arguments = ("--hostname", name, "--advertise-routes", lan, "--accept-routes")
        approve(control, gateway, waypost(gateway, f"up-{name}", "up", "--login-server", CONTROL_URL, *arguments))
        control.json("routes", "approve", name)
    wait_for_page(sites)
    a.wait_for_path("gateway-b", "direct")

    before = a.status()["self_node"]
    start = received(a)
    with transfer(sites) as fetch:
        wait_until(lambda: received(a) > start + 5_000_000, 10, "the transfer to begin")
        approve(control, a, waypost(a, "renewal", "login"))
        after = a.status()["self_node"]
        assert fetch.poll() is None, "the transfer must still run after the renewal"
        digest, _ = fetch.communicate(timeout=60)
    assert digest.split()[0] == sites.large_hash
    assert after["node_key"] != before["node_key"]
    assert (after["stable_id"], after["addresses"]) == (before["stable_id"], before["addresses"])
    assert len(control.json("nodes", "list")) == 2

    a.must("logout")
    wait_until(lambda: not sites.page_comes(), 10, "the tunnel to be gone")
    approve(control, a, waypost(a, "again", "up"))
    wait_for_page(sites)
    assert a.status()["self_node"]["addresses"] == before["addresses"]


def test_ok__another_server_that_fails_leaves_the_login(lab: Lab, tmp_path: Path) -> None:
    sites = two_sites(lab, tmp_path)
    sites.join()
    wait_for_page(sites)
    a = sites.a
    before = a.status()
    result = a.run("up", "--control-url", f"http://{CONTROL_IP}:9", "--auth-key", "-", stdin="key")
    assert result.code == 1
    assert "cannot" in result.stderr
    assert sites.page_comes()
    assert summary(a.status()) == summary(before)
    a.kill()
    a.start()
    wait_for_page(sites)
    assert summary(a.status()) == summary(before)


def test_ok__profiles_switch(lab: Lab, tmp_path: Path) -> None:
    sites = two_sites(lab, tmp_path)
    sites.join()
    wait_for_page(sites)
    a, control = sites.a, sites.control
    before = a.status()
    control.json("users", "create", "other")
    approve(control, a, waypost(a, "work", "up", "--profile", "work"), "other")
    assert a.status()["self_node"]["addresses"] != before["self_node"]["addresses"]
    assert [each["current"] for each in a.json("profiles", "list")] == [False, True]
    a.must("profiles", "switch", "default")
    wait_until(lambda: a.run("status", "--json").code == 0 and a.status()["state"] == "running", 20, "the old profile")
    wait_for_page(sites)
    assert summary(a.status()) == summary(before)
    a.must("profiles", "delete", "work")
    assert [each["name"] for each in a.json("profiles", "list")] == ["default"]


def summary(status: Any) -> list[Any]:
    node = status["self_node"]
    return [status["control"]["url"], node["stable_id"], node["addresses"], node["node_key"]]
