"""The usual set of the lab: a control server and two sites with a gateway and a web server, joined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.lab.mesh import ControlServer, Gateway, fetch, large_file, page, web_server
from tests.lab.processes import wait_until
from tests.lab.topology import Internet, NatKind, Site, site

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.lab.namespaces import Lab

GREETING = "page of LAN B"


@dataclass
class TwoSites:
    """Everything of one run; `a` and `b` are the gateways."""

    internet: Internet
    control: ControlServer
    site_a: Site
    site_b: Site
    a: Gateway
    b: Gateway
    directory: Path
    large_hash: str = ""

    @property
    def url(self) -> str:
        return f"http://{self.site_b.host_ip}"

    def page_comes(self) -> bool:
        return fetch(self.site_a.host, f"{self.url}/", 2) == GREETING

    def join(self, *options: str) -> None:
        """Start both gateways, log in, approve both LANs."""
        for gateway, where, name in ((self.b, self.site_b, "gateway-b"), (self.a, self.site_a, "gateway-a")):
            gateway.start()
            gateway.up(
                self.control.pre_auth_key("demo"),
                "--hostname",
                name,
                "--advertise-routes",
                where.lan,
                "--accept-routes",
                *options,
            )
        for name in ("gateway-a", "gateway-b"):
            self.control.json("routes", "approve", name)


def two_sites(
    lab: Lab,
    directory: Path,
    kind_a: NatKind = NatKind.EASY,
    kind_b: NatKind = NatKind.EASY,
    megabytes: int = 0,
    control_options: tuple[str, ...] = (),
    control_wrapper: tuple[str, ...] = (),
    before_control: Callable[[Internet], None] = lambda _internet: None,
) -> TwoSites:
    """Build the networks, start control and the web server; gateways are made, not started."""
    internet = Internet(lab)
    before_control(internet)
    control = ControlServer(internet.server("control", 1), directory / "control", control_options, control_wrapper)
    site_a = site(internet, "a", 10, kind_a)
    site_b = site(internet, "b", 20, kind_b)
    site_a.route_to(site_b)
    site_b.route_to(site_a)
    web = directory / "web"
    page(web, GREETING)
    large_hash = large_file(web, megabytes) if megabytes else ""
    web_server(site_b.host, site_b.host_ip, web)
    control.start()
    gateway_a = Gateway(site_a.gateway, directory / "a")
    gateway_b = Gateway(site_b.gateway, directory / "b")
    return TwoSites(internet, control, site_a, site_b, gateway_a, gateway_b, directory, large_hash)


def wait_for_page(sites: TwoSites, timeout_s: float = 30) -> float:
    return wait_until(sites.page_comes, timeout_s, "the web page of LAN B on LAN A")
