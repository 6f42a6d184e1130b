"""Fixtures of the lab: a fresh set of namespaces per test, always removed, logs shown when a test fails; and the host
of router tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.lab.namespaces import Lab, check_requirements
from tests.lab.router_host import Gateway, Tunnel, inside
from tests.lab.router_site import RouterSite, build_router_site


@pytest.fixture
def lab(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    check_requirements()
    logs = tmp_path / "logs"
    with Lab(logs) as built:
        yield built
    for log in sorted(logs.glob("*waypost*.log")):
        request.node.add_report_section("teardown", log.name, log.read_text(errors="replace")[-6000:])


@pytest.fixture
def site(lab: Lab, tmp_path: Path) -> RouterSite:
    return build_router_site(lab, tmp_path / "router.json")


@pytest.fixture
def tunnel(site: RouterSite) -> Iterator[Tunnel]:
    """The test's thread is inside the gateway from here on."""
    with inside(site.gateway):
        device = Tunnel()
        yield device
        device.close()


@pytest.fixture
async def gateway(site: RouterSite, tunnel: Tunnel) -> AsyncIterator[Gateway]:
    made = Gateway(site.journal)
    yield made
    await made.router.close()
    await made.netlink.close()
