"""A gateway of an ordinary user: no privilege at any time, in the mesh all the same, and nothing left behind.

             internet 203.0.113.0/24
             /         |          \\
        control    member        laptop
                   (root)     uid 65534: waypostd --rootless, the tunnel in a network of its own
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.lab.mesh import PROGRAMS, ControlServer, Gateway, command
from tests.lab.namespaces import Lab
from tests.lab.processes import wait_until
from tests.lab.rootless import UID, RootlessGateway, as_person, inner_network, is_gone, open_folder
from tests.lab.topology import Internet
from tests.lab.unprivileged import inhabitants

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]


@dataclass
class World:
    control: ControlServer
    member: Gateway
    laptop: RootlessGateway

    def join(self) -> None:
        for gateway, name in ((self.member, "member"), (self.laptop, "laptop")):
            gateway.start()
            gateway.up(self.control.pre_auth_key(), "--hostname", name)


@pytest.fixture
def world(lab: Lab) -> Iterator[World]:
    with open_folder() as folder:
        internet = Internet(lab)
        control = ControlServer(internet.server("control", 1), folder / "control")
        control.start()
        member = Gateway(internet.server("member", 10), folder / "member")
        yield World(control, member, RootlessGateway(internet.server("laptop", 20), folder / "laptop"))


def test_ok__in_the_mesh_without_any_privilege(world: World) -> None:
    host = world.laptop.host
    before = [host.run(*each.split()) for each in ("ip link", "ip rule", "ip route show table all", "nft list ruleset")]
    world.join()
    wait_until(lambda: world.laptop.run("ping", "member", "-c", "1").code == 0, 30, "the member to answer")
    assert "rootless" in world.laptop.must("status")
    assert world.laptop.status()["rootless"]
    assert not world.member.status()["rootless"]

    # Every kind of ping: TSMP by the engine, ICMP and the peer API by sockets of the inner network; and back.
    for kind in ("--tsmp", "--icmp", "--peerapi"):
        assert world.laptop.run("ping", "member", "-c", "1", kind).code == 0, kind
        assert world.member.run("ping", "laptop", "-c", "1", kind).code == 0, kind

    # No process of it ever held a capability over the host, or another user.
    found = inhabitants(host)
    daemons = [status for status in found.values() if "waypostd" in status["Command"]]
    assert daemons
    for status in daemons:
        assert set(status["Uid"].split()) == {str(UID)}
        assert {int(status[each], 16) for each in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {0}

    # The host's own network is as it was, while it runs.
    after = [host.run(*each.split()) for each in ("ip link", "ip rule", "ip route show table all", "nft list ruleset")]
    assert after == before


def test_ok__killed_it_leaves_nothing_and_comes_back(world: World) -> None:
    world.join()
    wait_until(lambda: world.laptop.run("ping", "member", "-c", "1").code == 0, 30, "the member to answer")
    address = world.laptop.status()["self_node"]["addresses"]
    inner = inner_network(world.laptop)
    world.laptop.kill()
    wait_until(lambda: is_gone(inner), 10, "the inner network to end")
    world.laptop.start()
    wait_until(lambda: world.laptop.run("ping", "member", "-c", "1").code == 0, 30, "the member to answer again")
    assert world.laptop.status()["self_node"]["addresses"] == address
    assert world.laptop.process is not None
    inner = inner_network(world.laptop)
    assert world.laptop.process.stop() == 0
    assert is_gone(inner)


def test_ok__ends_when_its_network_is_killed(world: World) -> None:
    world.laptop.start()
    inner = inner_network(world.laptop)
    process = world.laptop.process
    assert process is not None
    os.kill(inner, signal.SIGKILL)
    wait_until(lambda: not process.running, 10, "waypostd to end")
    assert process.popen.returncode == 1
    assert "waypostd: the process that holds the rootless network has ended → start waypostd again" in process.output()
    assert "Traceback" not in process.output()


def test_ok__advertised_routes_are_a_health_item(world: World) -> None:
    world.join()
    world.laptop.must("set", "--advertise-routes", "192.168.7.0/24")
    wait_until(lambda: "rootless-routes" in world.laptop.must("health", "--json"), 10, "the health item")
    assert "flows-not-ended" not in world.laptop.must("health", "--json")
    world.laptop.must("set", "--advertise-routes", "")
    wait_until(lambda: "rootless-routes" not in world.laptop.must("health", "--json"), 10, "the item to go")


def test_fail__where_namespaces_are_forbidden_it_says_what_to_do(world: World) -> None:
    forbidding = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'  # of this namespace only
    own = ["unshare", "--user", "--map-root-user", "sh", "-c", forbidding, "sh"]
    daemon = [str(PROGRAMS / "waypostd"), "--rootless"]
    result = command(world.laptop.host, *as_person(world.laptop.directory), *own, *daemon)
    assert result.code == 1
    assert "rootless mode needs a user namespace, and the kernel gives none" in result.stderr
    assert "→ let root run: sysctl -w user.max_user_namespaces" in result.stderr
