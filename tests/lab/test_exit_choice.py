"""Of two exits the wished region's is used, and the other one when it dies; what cuts its author off goes back.

client (site A, its uplink is watched) ══ tunnel ══ paris .41 and berlin .42 on the Internet ── .2 ── web

The web server is behind its router's address: what an exit is attached to it does not offer.
"""

from __future__ import annotations

import sys
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.mesh import ControlServer, Gateway, fetch, page, web_server
from tests.lab.processes import wait_until
from tests.lab.raw_packets import addresses
from tests.lab.test_exit import CHATTER, WHO, add_ipv6
from tests.lab.topology import INTERNET_V4, INTERNET_V6, Internet, NatKind, site
from tests.lab.uplink_watch import UplinkWatch

if TYPE_CHECKING:
    from tests.lab.namespaces import Lab

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(240)]

WEB_V4, WEB_V6 = "198.51.100.2", "2001:db8:ffff::2"
URLS = (f"http://{WEB_V4}/who", f"http://[{WEB_V6}]/who")
NUMBERS = {"paris": 41, "berlin": 42}
CODES = {"paris": "FR", "berlin": "DE"}


class World:
    def __init__(self, lab: Lab, directory: Path) -> None:
        internet = Internet(lab)
        self.control = ControlServer(internet.server("control", 1), directory / "control")
        self.home = site(internet, "a", 10, NatKind.EASY)
        add_ipv6(self.home)
        web = internet.server("web", 2)
        web.ip(f"addr add {WEB_V4}/32 dev lo")
        web.ip(f"addr add {WEB_V6}/128 dev lo nodad")
        web.start("who", sys.executable, "-c", WHO).wait_for_output("serving")
        self.client = Gateway(self.home.gateway, directory / "client")
        self.exits = {
            name: Gateway(internet.server(name, number), directory / name) for name, number in NUMBERS.items()
        }
        for host in (self.home.router, *(each.host for each in self.exits.values())):
            host.ip(f"route add {WEB_V4} via {INTERNET_V4}.2")
            host.ip(f"route add {WEB_V6} via {INTERNET_V6}::2")
        page(directory / "box", "page of the box")
        self.box = directory / "box"

    def join(self) -> None:
        self.control.start()
        for name, gateway in (*self.exits.items(), ("client", self.client)):
            gateway.start()
            gateway.up(self.control.pre_auth_key("demo"), "--hostname", name)
        for name, gateway in self.exits.items():
            gateway.must("plugins", "config", "exit_node", f'location={{"country_code": "{CODES[name]}"}}')
            gateway.must("exit", "offer")
            wait_until(lambda name=name: self.approved(name), 20, f"{name} to be approved")
        wait_until(lambda: len(self.located()) == 2, 30, "both exits, with their places, at the client")

    def approved(self, name: str) -> bool:
        return self.control.run("routes", "approve", name, "exit").code == 0

    def located(self) -> set[str]:
        return {each["location"]["country_code"] for each in self.client.json("exit", "list")} & set(CODES.values())

    def leaves_by(self, name: str) -> bool:
        """In both IP versions."""
        number = NUMBERS[name]
        expected = [f"{INTERNET_V4}.{number}", str(ip_address(f"{INTERNET_V6}::{number}"))]
        return [fetch(self.client.host, url, 2) for url in URLS] == expected

    def serve_box(self) -> tuple[str, str]:
        """A page of the client for its peers; its addresses in the mesh."""
        own = [each.partition("/")[0] for each in self.client.status()["self_node"]["addresses"]]
        for each in own:
            web_server(self.client.host, each, self.box, 8000)
        return f"http://{own[0]}:8000/", f"http://[{own[1]}]:8000/"


def test_ok__the_wished_region_and_another_exit_when_it_dies(lab: Lab, tmp_path: Path) -> None:
    world = World(lab, tmp_path)
    world.join()
    client = world.client
    chatter = client.host.start("chatter", sys.executable, str(CHATTER), WEB_V4, WEB_V6)
    chatter.wait_for_output("chattering")
    with UplinkWatch(world.home.router, "lan0", lambda packet: addresses(packet)[1] in (WEB_V4, WEB_V6)) as watch:
        wait_until(lambda: watch.seen, 10, "the watch to see what it must not see later")
        client.must("exit", "use", "auto", "--region", "de")
        watch.take()
        wait_until(lambda: world.leaves_by("berlin"), 40, "the client to leave in Germany")
        client.must("exit", "use", "auto", "--region", "fr")
        wait_until(lambda: world.leaves_by("paris"), 40, "the client to leave in France")
        client.must("exit", "use", "auto", "--any-region")
        assert world.leaves_by("paris"), "no way to another one without need"
        world.exits["paris"].kill()
        took_s = wait_until(lambda: world.leaves_by("berlin"), 90, "the other exit to be taken")
        print(f"moved to the other exit within {took_s:.1f} s")
        assert watch.packets > 20
        assert not watch.seen, f"{len(watch.seen)} packets left outside the tunnel, the first: {watch.seen[:5]}"
    client.must("exit", "off")
    chatter.stop()
    check_author_cut_off(world)


def check_author_cut_off(world: World) -> None:
    """Who changes the client from another node, and loses it by that, has it back; confirmed it stays."""
    author, urls = world.exits["berlin"].host, world.serve_box()

    def pages() -> list[str | None]:
        return [fetch(author, url, 2) for url in urls]

    wait_until(lambda: pages() == ["page of the box"] * 2, 30, "the client's page at the author's")
    for name in ("from the gateway", "from control"):
        if name == "from control":
            world.control.json("nodes", "set", "client", "shields_up=true", "--confirm-within", "8s")
        else:
            world.client.must("set", "--shields-up", "--confirm-within", "8s")
        wait_until(lambda: pages() == [None, None], 8, f"the author to be cut off ({name})")
        wait_until(lambda: pages() == ["page of the box"] * 2, 30, f"the author to be back ({name})")
    world.client.must("set", "--shields-up", "--confirm-within", "8s")
    world.client.must("confirm")
    assert pages() == [None, None]
    assert world.client.status()["unconfirmed_s"] is None
