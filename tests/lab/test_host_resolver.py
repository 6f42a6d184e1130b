"""The host's programs find names through the real systemd-resolved and NetworkManager, told so by waypostd's helper.

control -- internet -- names (dnsmasq: all other names)
              |
           nat-a -- gateway-a: system bus, systemd-resolved or NetworkManager, helper, waypostd
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.mesh import PROGRAMS, ControlServer, Gateway
from tests.lab.namespaces import Lab, Namespace
from tests.lab.processes import wait_until
from tests.lab.system_bus import BusHost, unpack_programs
from tests.lab.topology import Internet, NatKind, site

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(180)]

NAMES_IP = "203.0.113.53"
SERVICE = "100.100.100.100"
OUTSIDE = "www.outside.example"
DNSMASQ = f"no-resolv\nno-hosts\naddress=/{OUTSIDE}/198.51.100.7\nlog-queries\nlog-facility=-\n"


@pytest.fixture(autouse=True, scope="module")
def _programs() -> None:
    problem = unpack_programs()
    if problem:
        pytest.skip(f"systemd-resolved and NetworkManager cannot be had: {problem}")


class World:
    def __init__(self, lab: Lab, folder: Path) -> None:
        internet = Internet(lab)
        self.control = ControlServer(internet.server("control", 1), folder / "control")
        self.names = internet.server("names", 53)
        (folder / "dnsmasq.conf").write_text(DNSMASQ)
        self.dnsmasq = self.names.start("dnsmasq", "dnsmasq", "-k", f"--conf-file={folder}/dnsmasq.conf", "--user=root")
        self.host: Namespace = site(internet, "a", 10, NatKind.EASY).gateway
        self.bus = BusHost(self.host, folder)
        self.control.start()
        self.folder = folder
        self.gateway = Gateway(self.host, folder / "a", wrapper=self.bus.enter)

    def start(self) -> str:
        """Helper and gateway, joined; the mesh's domain."""
        socket = "/run/waypost-helper/helper.sock"
        self.helper = self.bus.start("helper", str(PROGRAMS / "waypost-helper"), "--socket", socket, "--user", "0")
        wait_until(lambda: self.bus.run("test", "-S", socket).code == 0, 20, "the helper's socket")
        self.gateway.start()
        self.gateway.up(self.control.pre_auth_key("demo"), "--hostname", "gateway-a")
        wait_until(lambda: self.gateway.json("dns", "status")["search"], 30, "the mesh's names")
        return str(self.gateway.json("dns", "status")["search"][0])

    def way(self) -> str:
        return str(self.gateway.json("dns", "status")["host"]["way"])

    def address(self) -> str:
        return str(self.gateway.status()["self_node"]["addresses"][0]).partition("/")[0]


def test_ok__systemd_resolved(lab: Lab, tmp_path: Path) -> None:
    world = World(lab, tmp_path)
    bus = world.bus
    resolved = bus.resolved(NAMES_IP)
    assert "198.51.100.7" in bus.resolvectl("query", "--legend=no", OUTSIDE).stdout
    domain = world.start()
    wait_until(lambda: world.way() == "resolved", 30, "the way to be found")
    assert SERVICE in bus.resolvectl("dns", "waypost0").stdout
    own, address = f"gateway-a.{domain}", world.address()

    def known() -> bool:
        return address in bus.resolvectl("query", "--legend=no", own).stdout

    wait_until(known, 20, "a name of the mesh by systemd-resolved")
    assert "198.51.100.7" in bus.resolvectl("query", "--legend=no", "--cache=no", OUTSIDE).stdout
    assert address in bus.run("dig", "+short", "@127.0.0.53", own).stdout, "by its stub, as programs ask"
    assert world.gateway.json("dns", "status")["upstreams"][0]["name"].startswith(NAMES_IP)

    resolved.kill()
    bus.resolved(NAMES_IP)
    wait_until(known, 60, "the new run of systemd-resolved to be told again")

    world.gateway.must("down")
    wait_until(lambda: not known(), 20, "the names to be gone")
    assert SERVICE not in bus.resolvectl("dns").stdout
    assert "198.51.100.7" in bus.resolvectl("query", "--legend=no", "--cache=no", OUTSIDE).stdout


def test_ok__network_manager(lab: Lab, tmp_path: Path) -> None:
    """While the mesh's resolver is set, NetworkManager's files name no other: the one before is remembered."""
    world = World(lab, tmp_path)
    bus = world.bus
    world.host.ip("addr flush dev eth0")  # what others have set up it would leave to them
    bus.network_manager("eth0", "192.168.10.2/24", "192.168.10.1", NAMES_IP)
    domain = world.start()
    wait_until(lambda: world.way() == "network-manager", 30, "the way to be found")
    wait_until(lambda: f"nameserver {SERVICE}" in bus.resolv_conf(), 20, "NetworkManager's resolv.conf")
    assert NAMES_IP not in bus.resolv_conf()
    assert domain in bus.resolv_conf()
    assert world.address() in bus.run("dig", "+short", f"gateway-a.{domain}").stdout
    assert "198.51.100.7" in bus.run("dig", "+short", OUTSIDE).stdout
    told = world.helper.output().count("100.100.100.100")
    for _ in range(3):
        world.gateway.must("dns", "flush")
        assert "198.51.100.7" in bus.run("dig", "+short", OUTSIDE).stdout
    assert world.helper.output().count("100.100.100.100") == told == 1, "set once"
    world.gateway.must("down")
    wait_until(lambda: NAMES_IP in bus.resolv_conf(), 20, "NetworkManager's own resolvers")
    assert SERVICE not in bus.resolv_conf()
    assert "198.51.100.7" in bus.run("dig", "+short", OUTSIDE).stdout
