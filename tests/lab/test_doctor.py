"""`waypost doctor` on a real gateway: well, and with each fault made on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.lab.namespaces import Lab
from tests.lab.sites import TwoSites, two_sites, wait_for_page

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(180)]

BLACK_HOLE = """table inet hole {
    chain forward { type filter hook forward priority -20; policy accept;
        meta l4proto udp meta length > 1200 drop
    }
}
"""


def findings(sites: TwoSites) -> dict[str, Any]:
    result = sites.a.run("doctor", "--json", timeout_s=90)
    report = result.json()
    assert (result.code == 0) == report["ok"]
    return {each["check"]: each for each in report["findings"]}


def test_ok__faults_are_found(lab: Lab, tmp_path: Path) -> None:
    sites = two_sites(lab, tmp_path)
    sites.join()
    wait_for_page(sites)
    sites.a.wait_for_path("gateway-b", "direct", 60)
    well = findings(sites)
    assert {name for name, each in well.items() if each["state"] == "failed"} == set()
    assert {well[name]["state"] for name in ("control", "relay", "mtu", "forwarding", "approvals", "key")} == {"ok"}
    assert "gateway-b" in well["mtu"]["text"]

    sites.site_a.router.nft(BLACK_HOLE)
    sites.a.host.sysctl("net.ipv4.ip_forward", 0)
    sites.control.json("routes", "revoke", "gateway-a")
    sites.a.must("set", "--advertise-routes", f"{sites.site_a.lan},10.77.0.0/16")
    faults = findings(sites)
    states = {name: faults[name]["state"] for name in ("mtu", "forwarding", "approvals")}
    assert states == {"mtu": "failed", "forwarding": "failed", "approvals": "warning"}
    assert all(faults[name]["mend"] for name in states)
    assert "large packets vanish" in sites.a.run("doctor").stdout
    assert "10.77.0.0/16" in faults["approvals"]["text"]
