"""A direct path through hard NATs, on real packets.

gateway-a -- NAT that gives every destination another port -- Internet -- ordinary NAT, or one like that -- gateway-b

No address that the two know of each other works. Where one NAT draws ports by chance, one side opens sockets and the
other tries ports until one meets; where both count, each foretells the other's next ports and pings them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.mesh import fetch_hash
from tests.lab.processes import wait_until
from tests.lab.sites import TwoSites, two_sites, wait_for_page
from tests.lab.topology import COUNTED, NatKind

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.namespaces import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]


def direct(sites: TwoSites) -> bool:
    """Whether packets pass and both gateways say directly."""
    return sites.page_comes() and {sites.a.path_to("gateway-b"), sites.b.path_to("gateway-a")} == {"direct"}


def meet(lab: Lab, directory: Path, kind_a: NatKind, kind_b: NatKind) -> TwoSites:
    """Two sites whose gateways have found the direct path, and carried a file by it."""
    sites = two_sites(lab, directory, kind_a, kind_b, megabytes=8)
    sites.join()
    wait_for_page(sites)
    assert sites.a.path_to("gateway-b") == "derp"
    wait_until(lambda: direct(sites), 150, "both gateways to find the direct path")
    digest, _ = fetch_hash(sites.site_a.host, f"{sites.url}/large.bin", 90)
    assert digest == sites.large_hash
    assert sites.a.path_to("gateway-b") == sites.b.path_to("gateway-a") == "direct"
    return sites


def guessed(sites: TwoSites) -> bool:
    """Whether one of the two says that it got through by guessing or foretelling ports."""
    return any(gateway.json("debug", "counters").get("hard_nat_found") for gateway in (sites.a, sites.b))


def endpoint_in_use(sites: TwoSites) -> tuple[str, int]:
    """Where gateway-a sends what is for gateway-b."""
    reasons = sites.a.json("ping", "gateway-b", "--explain")["reasons"]
    ip, _, port = next(each for each in reasons["candidates"] if each["in_use"])["endpoint"].rpartition(":")
    return ip, int(port)


def test_ok__symmetric_nat_and_ordinary_nat_meet_directly(lab: Lab, tmp_path: Path) -> None:
    sites = meet(lab, tmp_path, NatKind.SYMMETRIC, NatKind.EASY)
    assert guessed(sites)
    assert endpoint_in_use(sites)[0] == "203.0.113.20"


@pytest.mark.long
def test_ok__two_counting_nats_meet_directly(lab: Lab, tmp_path: Path) -> None:
    sites = meet(lab, tmp_path, NatKind.COUNTING, NatKind.COUNTING)
    assert guessed(sites)
    ip, port = endpoint_in_use(sites)
    assert ip == "203.0.113.20"
    assert port in COUNTED
