"""What ends at a LAN's edge crosses to another site: Wake-on-LAN, and services found by multicast DNS.

host-a -- LAN A -- gateway-a ===== tunnel ===== gateway-b -- LAN B -- host-b (a printer; asleep)
IPv6: link-local only                                       fd00:20::/64 too
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.namespaces import Lab
from tests.lab.processes import wait_until
from tests.lab.sites import TwoSites, two_sites, wait_for_page

if TYPE_CHECKING:
    from tests.lab.namespaces import Namespace
    from tests.lab.processes import Process

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

MDNS = Path(__file__).with_name("mdns_program.py")
OPEN = ["eth0 (IPv4)", "eth0 (IPv6)"]
MAC = "00:1a:2b:3c:4d:5e"
PACKET = "ff" * 6 + MAC.replace(":", "") * 16
LISTEN = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 9))
print("ready", flush=True)
while True:
    data, source = s.recvfrom(2000)
    print(data.hex(), source[0], flush=True)
"""


def program(host: Namespace, name: str, *arguments: str) -> Process:
    started = host.start(name, sys.executable, *arguments)
    wait_until(lambda: "ready" in started.output(), 20, f"{name} on {host.name}")
    return started


def lines(process: Process) -> list[str]:
    return process.output().splitlines()[1:]


def check_wake(sites: TwoSites) -> None:
    heard = program(sites.site_b.host, "wake-listener", "-c", LISTEN)
    sites.b.must("plugins", "config", "wake_on_lan", f'hosts={{"nas": "{MAC} on eth0"}}')
    assert "called on eth0" in sites.b.must("wake", "nas")
    wait_until(lambda: lines(heard) == [f"{PACKET} 192.168.20.2"], 10, "the magic packet on LAN B")
    view = sites.a.json("wake", MAC, "--via", "gateway-b")
    assert (view["sent"], view["error"]) == (["eth0"], "")
    wait_until(lambda: len(lines(heard)) == 2, 10, "the one that LAN A's gateway asked for")
    told = sites.control.run("nodes", "c2n", "gateway-b", f"/wol?mac={MAC}", "-X", "POST")
    assert (told.code, told.stdout.strip()) == (0, '{"SentTo":["eth0"],"Errors":null}')
    wait_until(lambda: len(lines(heard)) == 3, 10, "the one that control asked for")
    assert set(lines(heard)) == {f"{PACKET} 192.168.20.2"}
    assert sites.a.run("wake", "nas").code == 1, "that name is set at the other gateway"
    assert "no network is attached" in sites.b.run("wake", MAC, "--interface", "waypost0").stderr
    heard.stop()


def check_mdns(sites: TwoSites) -> None:
    """The printer of site B on LAN A; nothing of its SSH server; no loop."""
    program(sites.site_b.host, "printer", str(MDNS), sites.site_b.host_ip, "serve", "Printer")
    for gateway, other in ((sites.a, "gateway-b"), (sites.b, "gateway-a")):
        gateway.must("plugins", "enable", "mdns_reflector")
        lists = ('interfaces=["eth0"]', f'sites=["{other}"]', 'services=["_ipp._tcp"]')
        gateway.must("plugins", "config", "mdns_reflector", *lists)
        wait_until(lambda gateway=gateway: gateway.json("mdns")["lans"] == OPEN, 20, "an open reflector")
    asking = program(sites.site_a.host, "asking", str(MDNS), sites.site_a.host_ip, "ask", "_ipp._tcp.local")
    wait_until(lambda: "! printer.local. 120 IN A 192.168.20.10" in asking.output(), 20, "the printer's address")
    found = asking.output()
    assert "! Printer._ipp._tcp.local. 120 IN SRV 0 0 631 printer.local." in found
    assert "_ssh" not in found
    asking.stop()
    assert [each["name"] for each in sites.a.json("mdns", "--seen")] == ["Printer._ipp._tcp.local"]
    sent = [gateway.json("mdns")["counters"] for gateway in (sites.a, sites.b)]
    asked = sent[0]["out_sent"]
    assert asked <= 20, "one for each question"
    assert sent[1]["out_sent"] <= asked, "one for each answer; nothing goes round"
    assert sent[1]["in_sent"] <= asked


def check_mdns_v6(sites: TwoSites) -> None:
    """By ff02::fb, hosts speaking from link-local addresses; LAN A has no others, and those never leave a LAN."""
    host_a, host_b = sites.site_a.host, sites.site_b.host
    label = program(host_b, "label", str(MDNS), "fd00:20::10", "serve", "Label", "fe80::20")
    asking = program(host_a, "asking-v6", str(MDNS), "fe80::10", "ask", "_ipp._tcp.local")
    wait_until(lambda: "! label.local. 120 IN AAAA fd00:20::10" in asking.output(), 20, "the printer of LAN B by IPv6")
    assert "! Label._ipp._tcp.local. 120 IN SRV 0 0 631 label.local." in asking.output()
    wait_until(lambda: "printer.local. 120 IN A 192.168.20.10" in asking.output(), 20, "what speaks IPv4 there")
    assert "_ssh" not in asking.output()
    for each in (label, asking):
        each.stop()
    scanner = program(host_a, "scanner", str(MDNS), "fe80::10", "serve", "Scanner", sites.site_a.host_ip)
    asking_b = program(host_b, "asking-b", str(MDNS), "fd00:20::10", "ask", "_ipp._tcp.local")
    wait_until(lambda: "! scanner.local. 120 IN A 192.168.10.10" in asking_b.output(), 20, "the scanner of LAN A")
    assert "fe80" not in asking.output() + asking_b.output(), "it means nothing elsewhere"
    for each in (scanner, asking_b):
        each.stop()


def test_ok__wake_on_lan_and_multicast_dns_between_sites(lab: Lab, tmp_path: Path) -> None:
    sites = two_sites(lab, tmp_path)
    sites.join()
    wait_for_page(sites)
    check_wake(sites)
    for host, address in ((sites.site_a.host, "fe80::10"), (sites.site_b.host, "fe80::20")):
        host.ip(f"addr add {address}/64 dev eth0 nodad")
    for host, address in ((sites.site_b.gateway, "fd00:20::2"), (sites.site_b.host, "fd00:20::10")):
        host.ip(f"addr add {address}/64 dev eth0 nodad")
    check_mdns(sites)
    check_mdns_v6(sites)
