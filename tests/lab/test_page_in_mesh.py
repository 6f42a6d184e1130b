"""The gateway's page as it runs: plugin in its own process, opened through the tunnel from the other site's gateway.

gateway-b (curl) == tunnel == gateway-a: waypostd -- status_page in waypost-apps
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.lab.mesh import command
from tests.lab.namespaces import Lab
from tests.lab.processes import wait_until
from tests.lab.sites import two_sites, wait_for_page

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]


def test_ok__page_through_the_tunnel(lab: Lab, tmp_path: Path) -> None:
    sites = two_sites(lab, tmp_path)
    sites.join()
    wait_for_page(sites)
    sites.a.wait_for_path("gateway-b", "direct")
    here, there = sites.site_b.gateway, sites.site_a.gateway
    wait_until(lambda: "http://100.64." in sites.a.run("page").stdout, 20, "the page on the overlay address")
    printed = sites.a.must("page")
    found = re.search(r"(http://100\.64\.[0-9.]+:5280)/#code=(\S+)", printed)
    assert found is not None, printed
    url, code = found[1], found[2]
    jar = str(tmp_path / "cookies")

    def curl(*arguments: str) -> str:
        return command(here, "curl", "-sS", "-m", "10", "-b", jar, "-c", jar, *arguments).stdout

    assert "One-time code" in curl("-L", f"{url}/")
    page = curl("-L", "-H", f"Origin: {url}", "--data", f"code={code}", f"{url}/sign-in")
    assert "gateway-a" in page
    assert "gateway-b" in page
    assert "Direct" in page
    events = curl("-N", "-m", "4", f"{url}/events")
    assert "event: sections" in events
    assert "not called like that" in curl("-H", "Host: evil.example", f"{url}/")
    assert "Another site" in curl("-H", "Sec-Fetch-Site: cross-site", f"{url}/")
    assert "One-time code" in command(there, "curl", "-sSL", "-m", "10", "http://127.0.0.1:5280/").stdout
    plugins = {plugin["name"]: plugin for plugin in sites.a.json("plugins", "list")}
    assert (plugins["status_page"]["state"], plugins["status_page"]["placement"]) == ("running", "apps")
    sites.a.must("plugins", "disable", "status_page")
    wait_until(lambda: command(here, "curl", "-m", "2", f"{url}/").code, 10, "the port to be closed")
    assert sites.a.path_to("gateway-b") == "direct"
