"""A direct path through one hard NAT, on real packets.

gateway-a -- NAT that gives every destination another random port -- Internet -- ordinary NAT -- gateway-b

No address that the two know of each other works. One side opens sockets, the other tries ports until one meets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.mesh import fetch_hash
from tests.lab.processes import wait_until
from tests.lab.sites import two_sites, wait_for_page
from tests.lab.topology import NatKind

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.namespaces import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]


def test_ok__symmetric_nat_and_ordinary_nat_meet_directly(lab: Lab, tmp_path: Path) -> None:
    sites = two_sites(lab, tmp_path, NatKind.SYMMETRIC, NatKind.EASY, megabytes=8)
    sites.join()
    wait_for_page(sites)
    assert sites.a.path_to("gateway-b") == "derp"
    wait_until(
        lambda: sites.page_comes() and {sites.a.path_to("gateway-b"), sites.b.path_to("gateway-a")} == {"direct"},
        150,
        "both gateways to find the direct path",
    )
    digest, _ = fetch_hash(sites.site_a.host, f"{sites.url}/large.bin", 90)
    assert digest == sites.large_hash
    assert sites.a.path_to("gateway-b") == sites.b.path_to("gateway-a") == "direct"
    reasons = sites.a.json("ping", "gateway-b", "--explain")["reasons"]
    assert next(each for each in reasons["candidates"] if each["in_use"])["endpoint"].startswith("203.0.113.20:")
