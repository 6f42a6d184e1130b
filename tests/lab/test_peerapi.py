"""The peer API, TSMP and control's requests on real packets.

LAN host A -- gateway-a ===== tunnel ===== gateway-b -- LAN host B
  refused        let in                    peer API       refused
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.lab.mesh import command, fetch
from tests.lab.namespaces import Lab
from tests.lab.processes import wait_until
from tests.lab.sites import TwoSites, two_sites, wait_for_page

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]


def metric(sites: TwoSites, node: str, name: str) -> int:
    """A number of a gateway, asked for by control."""
    result = sites.control.run("nodes", "c2n", node, "/debug/metrics")
    assert result.code == 0, result.stderr
    found = re.search(rf"^waypost_{name} (\d+)$", result.stdout, re.MULTILINE)
    return int(found[1]) if found else 0


def overlay(sites: TwoSites) -> tuple[str, str]:
    """Both addresses of gateway-b."""
    v4, v6 = (str(address).partition("/")[0] for address in sites.b.status()["self_node"]["addresses"])
    return v4, v6


def check_from_peer(sites: TwoSites) -> dict[int, str]:
    """The URLs of gateway-b's peer API by IP version."""
    v4, v6 = overlay(sites)
    pong = sites.a.json("ping", "gateway-b", "--tsmp", "-c", "1")
    assert pong["error"] == ""
    assert pong["peerapi_port"] >= 0x8000
    assert "peer API on port" in sites.a.must("ping", "gateway-b", "--tsmp", "-c", "1")
    v4_url = f"http://{v4}:{pong['peerapi_port']}/"
    greeting = fetch(sites.a.host, v4_url)
    assert greeting is not None
    assert greeting.startswith("This is gateway-b.")
    assert "You are gateway-a." in greeting
    listening = sites.b.host.run("ss", "-Hltn", "src", f"[{v6}]")
    v6_url = f"http://[{v6}]:{listening.split()[3].rpartition(':')[2]}/"
    assert fetch(sites.a.host, v6_url, 5) is not None
    assert sites.a.json("ping", "gateway-b", "--peerapi", "-c", "1")["error"] == ""
    return {4: v4_url, 6: v6_url}


def check_from_lans(sites: TwoSites, url: str) -> None:
    """A host behind a gateway is no node, on either side: the connection is cut off without an answer."""
    v4, _ = overlay(sites)
    for number, site in enumerate((sites.site_a, sites.site_b), 1):
        site.host.ip(f"route add {v4}/32 via {site.gateway_ip}")
        result = command(site.host, "curl", "-sS", "--max-time", "5", url)
        assert result.code in (52, 56), result  # an empty reply, or a reset
        assert metric(sites, "gateway-b", "peerapi_unknown_source_total") == number
    forged = command(sites.a.host, "curl", "-sS", "--max-time", "5", "-H", "Host: example.org", url)
    assert forged.stdout == "invalid peerapi request\n"


def check_control(sites: TwoSites) -> None:
    echo = sites.control.run("nodes", "c2n", "gateway-a", "/echo", "-X", "POST", "-d", "hello")
    assert (echo.code, echo.stdout) == (0, "hello\n")
    refused = sites.control.run("nodes", "c2n", "gateway-a", "/nothing")
    assert (refused.code, refused.stderr) == (1, "HTTP 400: unknown c2n path\n")
    assert "gateway-b answers in" in sites.control.run("nodes", "ping", "gateway-b").stdout
    answers = sites.control.json("nodes", "ping", "gateway-a", "--to", "gateway-b", "--type", "disco,TSMP,ICMP,peerapi")
    assert [(item["kind"], item["error"]) for item in answers["answers"]] == [
        ("disco", ""),
        ("TSMP", ""),
        ("ICMP", ""),
        ("peerapi", ""),
    ]


def check_refusal(sites: TwoSites) -> None:
    """Gateway-a is told why, where the kernel can log packets."""
    if "log group" not in sites.b.host.run("nft", "list", "table", "inet", "waypost"):
        return
    assert fetch(sites.a.host, f"{sites.url}/", 1) is None
    lines = map(json.loads, sites.a.must("debug", "events", "--no-follow", "--json").splitlines())
    refused = [line["fields"] for line in lines if line["kind"] == "refused"]
    assert {(fields["destination"], fields["reason"]) for fields in refused} == {
        (f"{sites.site_b.host_ip}:80", "shields up")
    }
    assert metric(sites, "gateway-b", "filter_refusals_told_total") >= 1


def test_ok__peers_are_let_in_hosts_behind_them_are_not(lab: Lab, tmp_path: Path) -> None:
    sites = two_sites(lab, tmp_path)
    sites.join()
    wait_for_page(sites)
    wait_until(lambda: fetch(sites.a.host, f"{sites.url}/", 2) is not None, 20, "LAN B from gateway-a")
    urls = check_from_peer(sites)
    check_from_lans(sites, urls[4])
    check_control(sites)
    told = metric(sites, "gateway-b", "mesh_tsmp_told_total")
    assert told >= 1
    sites.b.must("set", "--shields-up")
    wait_until(lambda: fetch(sites.site_a.host, f"{sites.url}/", 1) is None, 15, "shields of gateway-b to be up")
    assert fetch(sites.a.host, urls[4]) is not None
    check_refusal(sites)
    sites.b.must("down")
    assert fetch(sites.a.host, urls[4], 2) is None
    assert sites.control.run("nodes", "ping", "gateway-b").code != 0
