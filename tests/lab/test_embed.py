"""Programs with a node of their own, as an ordinary user: the examples of docs/embed.md on real packets.

             internet 203.0.113.0/24
             /         |                     \\
        control    member (root)      laptop: uid 65534, docs/examples/embed_*
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.mesh import CONTROL_URL, ControlServer, Gateway, command, fetch, page, web_server
from tests.lab.namespaces import Lab, Namespace
from tests.lab.processes import Process, wait_until
from tests.lab.rootless import UID, RootlessGateway, as_person, open_folder
from tests.lab.topology import Internet
from tests.lab.unprivileged import ROOT, inhabitants

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

EXAMPLES = ROOT / "docs/examples"
GREETING = "hello from the member\n"


@dataclass
class World:
    control: ControlServer
    member: Gateway
    laptop: Namespace
    folder: Path

    def program(self, name: str, *arguments: str) -> list[str]:
        """The words that run an example as the ordinary user, with a key in its environment."""
        words = as_person(self.folder / "laptop")
        key = f"WAYPOST_AUTH_KEY={self.control.pre_auth_key()}"
        script = str(EXAMPLES / f"embed_{name}" / f"{name}.py")
        return [*words, key, sys.executable, script, "--control-url", CONTROL_URL, *arguments]

    def start_server(self) -> Process:
        words = self.program("server", "--state-dir", str(self.folder / "laptop/home/greeter"))
        process = self.laptop.start("waypost-server", *words)
        process.wait_for_output("serving on", 60)
        return process


@pytest.fixture
def world(lab: Lab) -> Iterator[World]:
    with open_folder() as folder:
        internet = Internet(lab)
        control = ControlServer(internet.server("control", 1), folder / "control")
        control.start()
        member = Gateway(internet.server("member", 10), folder / "member")
        member.start()
        member.up(control.pre_auth_key(), "--hostname", "member")
        yield World(control, member, internet.server("laptop", 20), folder)


def test_ok__server_and_client(world: World) -> None:
    before = world.laptop.run("ss", "-Hlntu")
    server = world.start_server()
    address = world.member.must("ip", "greeter", "-4").strip()
    wait_until(lambda: fetch(world.member.host, f"http://{address}/"), 30, "the page of the embedded server")
    # whois: the server knows the caller and its owner by the address alone
    assert fetch(world.member.host, f"http://{address}/") == "hello member of demo\n"
    six = world.member.must("ip", "greeter", "-6").strip()
    assert fetch(world.member.host, f"http://[{six}]/") == "hello member of demo\n"

    result = command(world.laptop, *world.program("client", "http://greeter/"))
    assert (result.code, result.stdout) == (0, "hello reader of demo\n"), result.stderr

    opened = set(world.laptop.run("ss", "-Hlntu").splitlines()) - set(before.splitlines())
    assert not [line for line in opened if line.startswith("tcp")], "nothing listens on the machine itself"
    for status in inhabitants(world.laptop).values():
        if "python" in status["Command"]:
            assert set(status["Uid"].split()) == {str(UID)}
            assert int(status["CapEff"], 16) == 0
    check_that_a_wrong_key_is_said(world)
    # Killed, the program takes its node along.
    server.kill()
    wait_until(
        lambda: not [pid for pid, one in inhabitants(world.laptop).items() if "appliance.daemon" in one["Command"]],
        20,
        "the node of the killed program to end",
    )


def test_ok__streams_to_a_member_by_nc(world: World) -> None:
    web = world.folder / "web"
    page(web, GREETING)
    laptop = RootlessGateway(world.laptop, world.folder / "laptop")
    laptop.start()
    laptop.up(world.control.pre_auth_key(), "--hostname", "laptop")
    address = world.member.must("ip", "-4").strip()
    web_server(world.member.host, address, web, 8000)
    wait_until(lambda: laptop.run("ping", "member", "-c", "1").code == 0, 30, "the member to answer")
    request = "GET / HTTP/1.0\r\n\r\n"
    assert laptop.must("nc", "member", "8000", stdin=request).endswith(GREETING)
    # The root gateway hands out sockets just so.
    laptop_address = laptop.must("ip", "-4").strip()
    assert laptop_address in world.member.must("whois", laptop_address)
    assert world.member.run("nc", "laptop", "9", "--timeout", "5").code == 1


def check_that_a_wrong_key_is_said(world: World) -> None:
    words = world.program("client", "http://greeter/")
    words = [word if not word.startswith("WAYPOST_AUTH_KEY=") else "WAYPOST_AUTH_KEY=wrong" for word in words]
    result = command(world.laptop, *words)
    assert result.code == 1
    assert "NodeError" in result.stderr
