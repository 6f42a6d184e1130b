"""A site without IPv4 toward the Internet joins, meets an IPv4 site through DERP and an IPv6 site directly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.mesh import CONTROL_PORT, ControlServer, Gateway, page, web_server
from tests.lab.namespaces import Lab
from tests.lab.processes import wait_until
from tests.lab.sites import GREETING, TwoSites, wait_for_page
from tests.lab.topology import CONTROL_IP, Internet, NatKind, route_ipv6_site, site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

V6_URL = f"http://[2001:db8::1]:{CONTROL_PORT}"


def build(lab: Lab, directory: Path, kind_b: NatKind) -> TwoSites:
    internet = Internet(lab)
    control = ControlServer(
        internet.server("control", 1),
        directory / "control",
        ("--listen", f"[::]:{CONTROL_PORT}", "--derp-host", f"{CONTROL_IP},2001:db8::1"),
    )
    site_a = site(internet, "a", 10, NatKind.IPV6_ONLY)
    site_b = site(internet, "b", 20, kind_b)
    for each, other in ((site_a, site_b), (site_b, site_a)):
        each.route_to(other)
        if each.kind is NatKind.IPV6_ONLY:
            route_ipv6_site(control.host, each)
            if other.kind is NatKind.IPV6_ONLY:
                route_ipv6_site(other.router, each)
    page(directory / "web", GREETING)
    web_server(site_b.host, site_b.host_ip, directory / "web")
    control.start()
    gateways = Gateway(site_a.gateway, directory / "a"), Gateway(site_b.gateway, directory / "b")
    return TwoSites(internet, control, site_a, site_b, *gateways, directory)


@pytest.mark.parametrize(("kind_b", "path"), [(NatKind.EASY, "derp"), (NatKind.IPV6_ONLY, "direct")])
def test_ok__site_without_ipv4(lab: Lab, tmp_path: Path, kind_b: NatKind, path: str) -> None:
    sites = build(lab, tmp_path, kind_b)
    sites.b.url = V6_URL if kind_b is NatKind.IPV6_ONLY else sites.b.url
    sites.a.url = V6_URL
    sites.join()
    wait_for_page(sites)
    wait_until(lambda: sites.a.path_to("gateway-b") == path, 30, f"path {path}")
    assert sites.page_comes()
