"""Ports mapped on a home router, against miniupnpd: each protocol alone, and two gateways that meet through one.

gateway-a ── nat-a (symmetric, maps ports) ── internet ── nat-b (symmetric) ── gateway-b
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.lab.miniupnpd import OUTSIDE, PortMappingRouter, knows_outside
from tests.lab.namespaces import Lab, Namespace
from tests.lab.processes import wait_until
from tests.lab.sites import two_sites, wait_for_page
from tests.lab.topology import Internet, NatKind, site

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

PROGRAM = Path(__file__).with_name("port_mapping_program.py")
ROOT = Path(__file__).resolve().parents[2]
ASK = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(2)
sock.sendto(b"hello", (sys.argv[1], int(sys.argv[2])))
print(sock.recv(100).decode())
"""


def echoes(host: Namespace, address: str) -> bool:
    ip, _, port = address.rpartition(":")
    return host.run(sys.executable, "-c", ASK, ip, port, check=False).strip() == "hello"


def test_ok__each_protocol_opens_a_port_and_closes_it(lab: Lab, tmp_path: Path) -> None:
    internet = Internet(lab)
    public = internet.server("public", 5)
    place = site(internet, "a", 10, NatKind.SYMMETRIC)
    knows_outside(public)
    router = PortMappingRouter(place, tmp_path / "router")
    router.prepare()
    router.start()
    for kind in ("PCP", "NAT-PMP", "UPnP"):
        mapper = place.gateway.start(
            f"mapper-{kind}",
            sys.executable,
            str(PROGRAM),
            "192.168.10.1",
            place.gateway_ip,
            kind,
            env={"PYTHONPATH": str(ROOT)},
        )
        mapper.wait_for_output(f"by {kind}")
        address = mapper.output().partition("\nmapped ")[2].split()[0]
        assert address.startswith(f"{OUTSIDE}:")
        assert echoes(public, address), f"{address} by {kind} does not lead inside"
        if kind == "PCP":
            router.restart()  # its announcement, or its epoch, tells; nobody else does
            wait_until(lambda where=address: echoes(public, where), 75, "the port to be asked for again")
        assert mapper.stop() == 0
        assert "closed" in mapper.output()
        wait_until(lambda: place.gateway_ip not in router.mapped(), 10, f"the port to be given back by {kind}")


def test_ok__two_symmetric_nats_meet_through_a_mapped_port(lab: Lab, tmp_path: Path) -> None:
    sites = two_sites(lab, tmp_path, NatKind.SYMMETRIC, NatKind.SYMMETRIC)
    knows_outside(sites.internet.core, sites.site_b.router)
    router = PortMappingRouter(sites.site_a, tmp_path / "router")
    router.prepare()
    router.start()
    (tmp_path / "off.toml").write_text('[paths]\nport_mapping = "off"\n')
    sites.b.options = ("--config", str(tmp_path / "off.toml"))
    sites.join()
    wait_for_page(sites)
    sites.b.wait_for_path("gateway-a", "direct")
    report = sites.a.json("netcheck")
    assert report["port_mapping"] == "UPnP, NAT-PMP, PCP"
    assert report["port_mapped"].startswith(f"{OUTSIDE}:")
    assert report["mapping_varies"] is not False
    (path,) = [peer["path"] for peer in sites.b.status()["peers"]]
    assert path["endpoint"] == report["port_mapped"]
    assert f"PortMapping: UPnP, NAT-PMP, PCP ({report['port_mapped']})" in sites.a.must("netcheck")
    behind_b = sites.b.json("netcheck")
    assert (behind_b["port_mapping"], behind_b["hairpinning"]) == ("", False)
    assert sites.a.process is not None
    sites.a.process.stop()
    wait_until(lambda: sites.site_a.gateway_ip not in router.mapped(), 10, "the port to be given back")
