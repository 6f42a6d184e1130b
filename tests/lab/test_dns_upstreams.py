"""Resolvers asked by IPv6, TLS and HTTPS: Debian's unbound, with a certificate of the operator's own authority.

control -- internet -- gateway-a (dig)
              |
      names, names-2 (unbound; the second has a certificate of another authority)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.mesh import ControlServer, Gateway, command
from tests.lab.private_ca import PrivateCa
from tests.lab.processes import wait_until
from tests.lab.topology import INTERNET_V4, INTERNET_V6, Internet
from tests.lab.unbound import Unbound

if TYPE_CHECKING:
    from tests.lab.namespaces import Lab, Namespace

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

SERVICE = "100.100.100.100"
NAME = "dns.lab.example"
V4, V6 = f"{INTERNET_V4}.53", f"{INTERNET_V6}::53"
OTHER = f"{INTERNET_V4}.54"
ADDRESSES = {"A": "198.51.100.7", "AAAA": "2001:db8:1::7"}
PARTS = 200
RECORDS = [
    *(f"www.example. 60 IN {kind} {address}" for kind, address in ADDRESSES.items()),
    *(f'huge.example. 60 IN TXT "{number}{"x" * 240}"' for number in range(PARTS)),
]
WAYS = {
    V6: ("ipv6", "tcp"),
    f"tls://{V4}#{NAME}": ("tls",),
    f"tls://{NAME}#{V6}": ("tls", "ipv6"),
    f"https://{NAME}/dns-query#{V4}": ("https",),
    f"https://{NAME}/dns-query#{V6}": ("https", "ipv6"),
}
"""Each with what unbound counts."""


@dataclass
class World:
    host: Namespace
    gateway: Gateway
    good: Unbound
    other: Unbound
    ca: PrivateCa

    def use(self, *upstreams: str) -> None:
        self.gateway.must("plugins", "config", "magicdns", f"upstreams={json.dumps(upstreams)}")
        wait_until(lambda: self._asks(len(upstreams)), 20, f"{upstreams} to be asked")

    def _asks(self, number: int) -> bool:
        """Whether so many, which were not asked anything, take turns now."""
        found = self.gateway.json("dns", "status")["upstreams"]
        return len(found) == number and not any(each["answered"] for each in found)

    def dig(self, *words: str) -> str:
        options = ("+time=12", "+tries=1", "+noall", "+comments", "+answer")
        return command(self.host, "dig", f"@{SERVICE}", *options, *words).stdout

    def short(self, *words: str) -> list[str]:
        return command(self.host, "dig", f"@{SERVICE}", "+short", "+time=12", "+tries=1", *words).stdout.split()

    def tls_connections(self, address: str) -> int:
        """Those to `address` that are open and stay."""
        shown = self.host.run("ss", "--no-header", "--numeric", "--tcp", "state", "established", "dport = :853")
        return sum(str(ip_address(address)) in line for line in shown.splitlines())

    def troubles(self) -> dict[str, dict[str, Any]]:
        """Health items about names, by their codes."""
        found = {each["code"].partition(".")[2]: each for each in self.gateway.json("health")}
        return {code: each for code, each in found.items() if code.startswith("dns-")}


@pytest.fixture
def world(lab: Lab, tmp_path: Path) -> World:
    internet = Internet(lab)
    control = ControlServer(internet.server("control", 1), tmp_path / "control")
    ca, stranger = PrivateCa(tmp_path, "site"), PrivateCa(tmp_path, "stranger")
    good = Unbound(internet.server("names", 53), tmp_path / "names", (V4, V6), RECORDS, *ca.issue(NAME))
    other = Unbound(internet.server("names-2", 54), tmp_path / "names-2", (OTHER,), RECORDS, *stranger.issue(NAME))
    host = internet.server("gateway-a", 10)
    control.start()
    for each in (good, other):
        each.start()
    made = World(host, Gateway(host, tmp_path / "a"), good, other, ca)
    made.gateway.start()
    made.gateway.up(control.pre_auth_key("demo"))
    made.gateway.must("plugins", "config", "magicdns", f"ca_file={ca.file}")
    return made


def test_ok__names_by_each_way_to_a_resolver(world: World) -> None:
    for upstream, counted in WAYS.items():
        world.use(upstream)
        world.good.counters()
        for kind, address in ADDRESSES.items():
            assert world.short("www.example", kind) == [address], upstream
        assert "NXDOMAIN" in world.dig("nobody.example"), upstream
        assert world.dig("huge.example", "TXT").count("x" * 240) == PARTS, upstream
        counters = world.good.counters()
        assert all(counters[f"num.query.{each}"] for each in counted), (upstream, counters)
        if "tls" in counted:
            assert world.tls_connections(V6 if "ipv6" in counted else V4) == 1, "all questions share it"
    assert not world.troubles()

    bad = f"tls://{OTHER}#{NAME}"
    world.use(bad)
    check_refused(world)
    world.use(bad, f"https://{NAME}/dns-query#{V6}")
    assert world.short("www.example") == [ADDRESSES["A"]], "the next one is asked"
    assert not world.other.counters()["total.num.queries"], "it was told no name"


def check_refused(world: World) -> None:
    """The resolver in use cannot prove who it is."""
    assert "SERVFAIL" in world.dig("www.example")
    wait_until(lambda: "dns-upstream-untrusted" in world.troubles(), 30, "it to be told")
    item = world.troubles()["dns-upstream-untrusted"]
    assert "its certificate does not count" in item["text"]
    assert "plugins.magicdns.ca_file" in item["mend"]


@pytest.mark.long
def test_ok__resolvers_that_cannot_be_trusted_or_die(world: World) -> None:
    by_tls, by_https = f"tls://{V4}#{NAME}", f"https://{NAME}/dns-query#{V6}"
    for bad in (f"https://{NAME}/dns-query#{OTHER}", f"tls://{V4}#other.example", f"https://other.example/#{V4}"):
        world.use(bad)
        check_refused(world)
    assert not world.other.counters()["total.num.queries"]

    # Without its CA nobody believes the good one either; the file given, it counts at once.
    world.ca.file.rename(world.ca.file.with_suffix(".away"))
    world.use(by_tls)
    assert "SERVFAIL" in world.dig("www.example")
    wait_until(lambda: "dns-ca-file" in world.troubles(), 30, "the missing file to be told of")
    assert "no such file" in world.troubles()["dns-ca-file"]["text"]
    world.ca.file.with_suffix(".away").rename(world.ca.file)
    wait_until(lambda: world.short("www.example") == [ADDRESSES["A"]], 20, "the CA file to count")
    wait_until(lambda: not world.troubles(), 20, "health")

    for upstream in (V6, by_tls, by_https):
        world.use(upstream)
        assert world.short("www.example") == [ADDRESSES["A"]]
        world.good.kill()
        assert "SERVFAIL" in world.dig("huge.example", "TXT"), upstream
        world.good.start()
        huge = f"{upstream} to be used again"
        wait_until(lambda: world.dig("huge.example", "TXT").count("x" * 240) == PARTS, 30, huge)
