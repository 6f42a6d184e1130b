"""Two sites, one tunnel: the main job on real packets, over each kind of path."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.mesh import command, fetch_hash
from tests.lab.namespaces import Lab
from tests.lab.processes import wait_until
from tests.lab.router_host import snapshot
from tests.lab.sites import two_sites, wait_for_page
from tests.lab.topology import CONTROL_IP, NatKind

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

MEGABYTES = 100


@pytest.mark.parametrize(
    ("kind_a", "kind_b", "path"),
    [
        (NatKind.UDP_BLOCKED, NatKind.UDP_BLOCKED, "derp"),
        (NatKind.EASY, NatKind.EASY, "direct"),
        (NatKind.EASY, NatKind.UDP_BLOCKED, "derp"),
    ],
)
def test_ok__page_and_large_file(lab: Lab, tmp_path: Path, kind_a: NatKind, kind_b: NatKind, path: str) -> None:
    sites = two_sites(lab, tmp_path, kind_a, kind_b, MEGABYTES)
    sites.join()
    wait_for_page(sites)
    if path == "direct":
        sites.a.wait_for_path("gateway-b", "direct")
    digest, _ = fetch_hash(sites.site_a.host, f"{sites.url}/large.bin", 90)
    assert digest == sites.large_hash
    assert sites.a.path_to("gateway-b") == path
    assert sites.a.json("ping", "gateway-b", "-c", "1")["path"]["kind"] == path
    assert ("direct" if path == "direct" else "DERP") in sites.a.must("ping", "gateway-b", "-c", "1")
    reasons = sites.a.json("ping", "gateway-b", "--explain")["reasons"]
    assert reasons["why"]
    assert any(each["in_use"] for each in reasons["candidates"]) is (path == "direct")


def test_ok__killed_gateway_is_back_without_a_new_login(lab: Lab, tmp_path: Path) -> None:
    sites = two_sites(lab, tmp_path)
    sites.join()
    wait_for_page(sites)
    before = sites.a.status()["self_node"]["addresses"]
    nodes = len(sites.control.json("nodes", "list"))
    sites.a.kill()
    sites.a.start()
    assert wait_for_page(sites, 5) < 5
    assert sites.a.status()["self_node"]["addresses"] == before
    assert len(sites.control.json("nodes", "list")) == nodes


FOREIGN = """table inet firewalld {
    chain filter_FORWARD { type filter hook forward priority 10; policy accept;
        ct state established,related accept
        reject with icmpx admin-prohibited
    }
}
"""
OPEN = '[router]\nforeign = "open"\n'


@pytest.mark.parametrize(
    ("options", "config"),
    [((), ""), (("--no-snat",), OPEN)],
    ids=["snat", "no-snat-openings"],
)
def test_ok__down_and_kill_leave_the_host_as_it_was(
    lab: Lab, tmp_path: Path, options: tuple[str, ...], config: str
) -> None:
    sites = two_sites(lab, tmp_path)
    host = sites.site_a.gateway
    if config:
        host.nft(FOREIGN)
        (tmp_path / "waypost.toml").write_text(config)
        sites.a.options = ("--config", str(tmp_path / "waypost.toml"))
    before, own_routes = snapshot(host), host.ip("route show table main")
    sites.join(*options)
    wait_for_page(sites)
    during = snapshot(host)
    assert all(during[part] != before[part] for part in before), "every part is touched, else this proves nothing"
    sites.a.must("down")
    wait_until(lambda: snapshot(host) == before, 10, "the host's network to be as before `up`")
    sites.a.must("up")
    wait_for_page(sites)
    sites.a.kill()
    assert host.ip("route show table main") == own_routes
    for place in (CONTROL_IP, sites.site_a.host_ip):  # what the host itself has to do with the world goes on
        assert command(host, "ping", "-c1", "-W5", place).code == 0, place
    sites.a.start()  # recognises what the killed one left
    sites.a.must("down")
    wait_until(lambda: snapshot(host) == before, 10, "the host's network to be as before the crash")
