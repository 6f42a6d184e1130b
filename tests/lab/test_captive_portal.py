"""A network that lets nobody out before somebody logs in, as netcheck sees it.

gateway-a ── nat-a (no UDP; port 80 goes to its own page) ── internet ── control with its relay on port 80
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.lab.namespaces import Lab
from tests.lab.processes import wait_until
from tests.lab.sites import two_sites
from tests.lab.topology import CONTROL_IP, NatKind

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(120)]

PORTAL = """
import http.server
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(302)
        self.send_header("Location", "http://login.example/")
        self.end_headers()
print("portal", flush=True)
http.server.HTTPServer(("", 8088), Page).serve_forever()
"""
REDIRECT = """table inet portal {
    chain pre { type nat hook prerouting priority -100; iifname "lan" tcp dport 80 redirect to :8088; }
}"""


def test_ok__a_portal_is_told_from_a_network_without_udp(lab: Lab, tmp_path: Path) -> None:
    sites = two_sites(lab, tmp_path, NatKind.UDP_BLOCKED, NatKind.EASY, control_options=("--listen", "0.0.0.0:80"))
    sites.a.url = f"http://{CONTROL_IP}"
    sites.a.start()
    sites.a.up(sites.control.pre_auth_key("demo"))
    wait_until(lambda: sites.a.status()["state"] == "running", 30, "gateway-a to be connected")
    report = sites.a.json("netcheck")
    assert (report["udp"], report["captive_portal"]) == (False, False)
    portal = sites.site_a.router.start("portal", sys.executable, "-u", "-c", PORTAL)
    portal.wait_for_output("portal")
    sites.site_a.router.nft(REDIRECT)
    wait_until(lambda: sites.a.json("netcheck")["captive_portal"] is True, 40, "the portal to be noticed")
    assert "CaptivePortal: true" in sites.a.must("netcheck")
    sites.site_a.router.nft("delete table inet portal")
    wait_until(lambda: sites.a.json("netcheck")["captive_portal"] is False, 40, "the portal to be gone")
