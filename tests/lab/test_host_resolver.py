"""The host's programs find names through the real systemd-resolved, NetworkManager or resolvconf, told by the helper.

control -- internet -- names (dnsmasq: all other names)
              |
           nat-a -- gateway-a: systemd-resolved, NetworkManager or resolvconf; helper, waypostd
"""

from __future__ import annotations

from pathlib import Path
from typing import Generic, TypeVar

import pytest

from tests.lab.mesh import PROGRAMS, ControlServer, Gateway, command
from tests.lab.mounted_host import MountedHost
from tests.lab.namespaces import Lab, Namespace
from tests.lab.processes import wait_until
from tests.lab.resolvconf_host import DEBIAN, OPENRESOLV, ResolvconfHost
from tests.lab.system_bus import BusHost, unpack_programs
from tests.lab.topology import Internet, NatKind, site

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(180)]

NAMES_IP = "203.0.113.53"
OTHER_NAMES_IP = "203.0.113.54"
SERVICE = "100.100.100.100"
OUTSIDE = "www.outside.example"
Place = TypeVar("Place", bound=MountedHost)
DNSMASQ = f"no-resolv\nno-hosts\naddress=/{OUTSIDE}/198.51.100.7\nlog-queries\nlog-facility=-\n"


@pytest.fixture(autouse=True, scope="module")
def _programs() -> None:
    problem = unpack_programs()
    if problem:
        pytest.fail(f"systemd-resolved, NetworkManager and resolvconf cannot be had: {problem}")


class World(Generic[Place]):
    """`place` is the gateway's host."""

    def __init__(self, lab: Lab, folder: Path, kind: type[Place]) -> None:
        internet = Internet(lab)
        self.control = ControlServer(internet.server("control", 1), folder / "control")
        self.names = internet.server("names", 53)
        (folder / "dnsmasq.conf").write_text(DNSMASQ)
        self.dnsmasq = self.names.start("dnsmasq", "dnsmasq", "-k", f"--conf-file={folder}/dnsmasq.conf", "--user=root")
        self.host: Namespace = site(internet, "a", 10, NatKind.EASY).gateway
        self.place = kind(self.host, folder)
        self.control.start()
        self.folder = folder

    def start(self) -> str:
        """Helper and gateway, joined; the mesh's domain."""
        self.gateway = Gateway(self.host, self.folder / "a", wrapper=self.place.enter)
        socket = "/run/waypost-helper/helper.sock"
        self.helper = self.place.start("helper", str(PROGRAMS / "waypost-helper"), "--socket", socket, "--user", "0")
        wait_until(lambda: self.place.run("test", "-S", socket).code == 0, 20, "the helper's socket")
        self.gateway.start()
        self.gateway.up(self.control.pre_auth_key("demo"), "--hostname", "gateway-a")
        wait_until(lambda: self.gateway.json("dns", "status")["search"], 30, "the mesh's names")
        return str(self.gateway.json("dns", "status")["search"][0])

    def way(self) -> str:
        return str(self.gateway.json("dns", "status")["host"]["way"])

    def upstreams(self) -> list[str]:
        return [each["name"] for each in self.gateway.json("dns", "status")["upstreams"]]

    def clean_up(self) -> None:
        """What systemd runs after a crash."""
        state = ("--state-dir", str(self.gateway.directory / "state"), "--socket", str(self.gateway.socket))
        done = command(self.host, *self.place.enter, str(PROGRAMS / "waypostd"), *state, "--clean-up")
        assert done.code == 0, done.stderr

    def address(self) -> str:
        return str(self.gateway.status()["self_node"]["addresses"][0]).partition("/")[0]


def test_ok__systemd_resolved(lab: Lab, tmp_path: Path) -> None:
    world = World(lab, tmp_path, BusHost)
    bus = world.place
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
    world = World(lab, tmp_path, BusHost)
    bus = world.place
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


@pytest.mark.parametrize("package", [DEBIAN, OPENRESOLV])
def test_ok__resolvconf(lab: Lab, tmp_path: Path, package: str) -> None:
    """Ours comes first or alone; what a DHCP client says meanwhile counts; each kind of end leaves nothing of ours."""
    world = World(lab, tmp_path, ResolvconfHost)
    host = world.place
    world.names.ip(f"addr add {OTHER_NAMES_IP}/24 dev eth0")
    host.use(package)
    host.lease(NAMES_IP)
    before = host.everything()
    assert f"nameserver {NAMES_IP}" in before
    domain = world.start()
    wait_until(lambda: world.way() == "resolvconf", 30, "the way to be found")

    def ours() -> bool:
        return host.resolv_conf().partition("nameserver ")[2].startswith(SERVICE)

    wait_until(ours, 30, "resolvconf's file")
    assert domain in host.resolv_conf()
    assert (NAMES_IP in host.resolv_conf()) == (package == DEBIAN), "openresolv can keep the others out"
    assert world.address() in host.run("dig", "+short", f"gateway-a.{domain}").stdout
    for server in (OTHER_NAMES_IP, NAMES_IP):
        host.lease(server)
        wait_until(lambda server=server: world.upstreams() == [server], 30, f"{server} to be asked")
        assert ours()
        world.gateway.must("dns", "flush")
        assert "198.51.100.7" in host.run("dig", "+short", OUTSIDE).stdout

    world.gateway.must("down")
    wait_until(lambda: host.everything() == before, 30, "everything as before")
    world.gateway.must("up")
    wait_until(ours, 40, "the host's resolver to be set again")
    world.gateway.kill()
    assert ours(), "a killed daemon can mend nothing"
    world.clean_up()
    assert host.everything() == before
    world.gateway.start()
    wait_until(ours, 40, "the host's resolver to be set anew")
    assert world.gateway.process is not None
    world.gateway.process.stop()
    assert host.everything() == before
