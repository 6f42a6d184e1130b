"""The real systemd-resolved asks and answers by multicast DNS across two sites.

host-a (resolvectl) -- LAN A -- gateway-a ===== tunnel ===== gateway-b -- LAN B -- host-b (announces a printer)
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.namespaces import Lab
from tests.lab.processes import wait_until
from tests.lab.sites import two_sites, wait_for_page
from tests.lab.system_bus import BusHost, unpack_programs

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(240)]

PRINTER = "[Service]\nName=Printer\nType=_ipp._tcp\nPort=631\nTxtText=ty=Laser\n"
SSH = "[Service]\nName=Shell\nType=_ssh._tcp\nPort=22\n"


def test_ok__systemd_resolved_finds_a_printer_of_the_other_site(lab: Lab, tmp_path: Path) -> None:
    problem = unpack_programs()
    if problem:
        pytest.fail(f"systemd-resolved cannot be had: {problem}")
    sites = two_sites(lab, tmp_path)
    sites.join()
    wait_for_page(sites)
    hosts = {}
    for name, site in (("a", sites.site_a), ("b", sites.site_b)):
        (tmp_path / f"bus-{name}").mkdir()
        hosts[name] = BusHost(site.host, tmp_path / f"bus-{name}")
    announced = hosts["b"].etc / "systemd/dnssd"
    announced.mkdir(parents=True, exist_ok=True)
    (announced / "printer.dnssd").write_text(PRINTER)
    (announced / "shell.dnssd").write_text(SSH)
    for host in hosts.values():
        host.resolved("127.0.0.1", multicast=True)
        assert host.resolvectl("mdns", "eth0", "yes").code == 0

    def found(service: str, name: str) -> str:
        return hosts["a"].resolvectl("service", "--legend=no", name, service, "local").stdout

    assert "631" not in found("_ipp._tcp", "Printer"), "multicast ends at the LAN"
    for gateway, other in ((sites.a, "gateway-b"), (sites.b, "gateway-a")):
        gateway.must("plugins", "enable", "mdns_reflector")
        lists = ('interfaces=["eth0"]', f'sites=["{other}"]', 'services=["_ipp._tcp"]')
        gateway.must("plugins", "config", "mdns_reflector", *lists)
    wait_until(lambda: "192.168.20.10" in found("_ipp._tcp", "Printer"), 60, "the printer, by systemd-resolved")
    answer = found("_ipp._tcp", "Printer")
    assert "host-b.local:631" in answer
    assert "ty=Laser" in answer
    assert "22" not in found("_ssh._tcp", "Shell"), "not among the chosen services"
    counters = [gateway.json("mdns")["counters"] for gateway in (sites.a, sites.b)]
    assert all(each.get("out_sent", 0) + each.get("in_sent", 0) < 200 for each in counters), "nothing goes round"
