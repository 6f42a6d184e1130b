"""Names on real packets: dig as the client, dnsmasq as the resolver of others, the helper on a made-up /etc.

             internet 203.0.113.0/24
             /        |          \\
        control     names       nat-a ── LAN 192.168.10.0/24 ── gateway-a, host-a (dig, dnsmasq)
                  (dnsmasq)     nat-b ── LAN 192.168.20.0/24 ── gateway-b

gateway-a lives in a mount namespace whose /etc is a copy, so that /etc/resolv.conf is its own.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.bad_resolver import TRUTH
from tests.lab.dnsmasq import alone
from tests.lab.mesh import PROGRAMS, Gateway, command
from tests.lab.processes import wait_until
from tests.lab.sites import TwoSites, two_sites

if TYPE_CHECKING:
    from tests.lab.namespaces import Lab, Namespace
    from tests.lab.processes import Process

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

BAD = Path(__file__).with_name("bad_resolver.py")
NAMES_IP, OTHER_NAMES_IP = "203.0.113.53", "203.0.113.54"
LINES = """no-resolv
no-hosts
port=53
address=/www.example/198.51.100.7
address=/evil.example/192.168.10.99
address=/late.example/198.51.100.8
address=/dead.example/198.51.100.10
{big}
cname=alias.example,www.example
host-record=www.example,198.51.100.7
local-ttl=30
log-queries
log-facility=-
"""
LONG = "\n".join(f"txt-record=big.example,{number}{'x' * 240}" for number in range(12))
FORMER = f"# made by hand\nnameserver {NAMES_IP}\n"
SERVICE = "100.100.100.100"


@dataclass
class World:
    sites: TwoSites
    names: Namespace
    etc: Path
    run: Path

    @property
    def a(self) -> Gateway:
        return self.sites.a


def own_etc(folder: Path) -> tuple[Path, Path]:
    """A copy of /etc and an empty /run/waypost-helper, to be mounted over the real ones."""
    etc, run = folder / "etc", folder / "run"
    shutil.copytree("/etc", etc, symlinks=True, ignore=shutil.ignore_patterns("resolv.conf"))
    (etc / "resolv.conf").write_text(FORMER)
    run.mkdir()
    return etc, run


def inside(etc: Path, run: Path, *words: str) -> tuple[str, ...]:
    """Words that run a program where /etc and /run are ours."""
    mounts = f"mount --bind {etc} /etc && mkdir -p /run/waypost-helper && mount --bind {run} /run/waypost-helper"
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", f'{mounts} && exec "$@"', "sh", *words)


@pytest.fixture
def world(lab: Lab, tmp_path: Path) -> World:
    sites = two_sites(lab, tmp_path)
    names = sites.internet.server("names", 53)
    (tmp_path / "dnsmasq.conf").write_text(LINES.format(big=LONG))
    names.start("dnsmasq", "dnsmasq", *alone(tmp_path / "dnsmasq.conf"), "--user=root")
    etc, run = own_etc(tmp_path)
    made = World(sites, names, etc, run)
    host = sites.site_a.gateway
    helper = run / "helper.sock"
    host.start("helper", *inside(etc, run, str(PROGRAMS / "waypost-helper"), "--socket", str(helper), "--user", "0"))
    wait_until(helper.exists, 20, "the helper's socket")
    (tmp_path / "a.toml").write_text(f'[daemon]\nhelper_socket = "{helper}"\n')
    sites.a.options = ("--config", str(tmp_path / "a.toml"))
    sites.a.wrapper = inside(etc, run)
    return made


def dig(host: Namespace, *words: str, server: str = SERVICE) -> str:
    options = ("+time=8", "+tries=1", "+noall", "+answer", "+comments")
    return command(host, "dig", f"@{server}", *options, *words).stdout


def short(host: Namespace, *words: str, server: str = SERVICE) -> list[str]:
    """The answers; none where there is no reply at all."""
    result = command(host, "dig", f"@{server}", "+short", "+time=8", "+tries=1", *words)
    return result.stdout.split() if result.code == 0 else []


def own_state(world: World) -> tuple[str, ...]:
    return ("--state-dir", str(world.a.directory / "state"), "--socket", str(world.a.socket))


def upstreams(world: World) -> list[str]:
    return [each["name"] for each in world.a.json("dns", "status")["upstreams"]]


def peerapi_port(world: World) -> int:
    return int(world.a.json("ping", "gateway-b", "--tsmp", "-c", "1")["peerapi_port"])


def queries(world: World, name: str) -> str:
    """What the resolver on the Internet says of questions for a name."""
    return "\n".join(line for line in world.names.processes[0].output().splitlines() if name in line)


def site_resolver(world: World, forwards_to: str) -> Process:
    words = (*alone(), "--no-resolv", "--no-hosts", "--user=root")
    return world.sites.site_a.host.start("dnsmasq", "dnsmasq", *words, f"--server={forwards_to}", "--cache-size=0")


def check_loop(world: World, other: str) -> None:
    """The site's resolver begins to ask the gateway that asks it: both go on, and it is said; then it is mended.

    `other` is the address of gateway-b.
    """
    site, host = world.sites.site_a, world.sites.site_a.gateway
    assert world.a.process is not None
    pid = world.a.process.popen.pid
    site.host.ip(f"route add {NAMES_IP} via 192.168.{site.index}.1")
    good = site_resolver(world, NAMES_IP)
    world.a.must("plugins", "config", "magicdns", f'upstreams=["{site.host_ip}"]')
    wait_until(lambda: short(host, "www.example") == ["198.51.100.7"], 30, "names by way of the site's resolver")
    good.stop()
    looping = site_resolver(world, site.gateway_ip)
    world.a.must("dns", "flush")
    wait_until(lambda: "SERVFAIL" in dig(host, "www.example"), 30, "a plain failure")
    assert "SERVFAIL" in dig(site.host, "late.example", server=site.host_ip), "the site's hosts are told, too"
    doctor = {each["check"]: each for each in world.a.run("doctor", "--json").json()["findings"]}
    assert (doctor["dns"]["state"], site.host_ip in doctor["dns"]["text"]) == ("failed", True)
    assert "another upstream than this gateway" in doctor["dns"]["mend"]
    assert short(host, "gateway-b") == [other], "names of the mesh go on"
    looping.stop()
    good = site_resolver(world, NAMES_IP)
    wait_until(lambda: short(host, "www.example") == ["198.51.100.7"], 40, "the mended resolver to be used again")
    assert world.a.process.running
    assert world.a.process.popen.pid == pid
    world.a.must("plugins", "config", "magicdns", "upstreams=[]")
    wait_until(lambda: upstreams(world) == [NAMES_IP], 30, "the host's own resolver again")
    good.stop()


def check_stock_resolver_as_client(world: World, suffix: str, other: str) -> None:
    """The site's own resolver asks the gateway for all names, and its hosts ask it."""
    site = world.sites.site_a
    stock = site_resolver(world, site.gateway_ip)
    wait_until(
        lambda: short(site.host, "www.example", server=site.host_ip) == ["198.51.100.7"], 20, "a name by way of it"
    )
    assert short(site.host, f"gateway-b.{suffix}", server=site.host_ip) == [other]
    assert short(site.host, "-x", other, server=site.host_ip) == [f"gateway-b.{suffix}."]
    assert "NXDOMAIN" in dig(site.host, f"nobody.{suffix}", server=site.host_ip)
    assert dig(site.host, "big.example", "TXT", server=site.host_ip).count("x" * 240) == 12, "it asks on by TCP"
    stock.stop()


def check_bad_upstreams(world: World) -> None:
    """What they do is not passed on: the truth comes, late where it comes late, by another one where one is dead."""
    host, bad = world.sites.site_a.gateway, f"{NAMES_IP}:5300"
    program = world.names.start("bad-resolver", sys.executable, str(BAD), NAMES_IP, "5300")
    program.wait_for_output("serving")
    world.a.must("plugins", "config", "magicdns", f'upstreams=["{bad}"]')
    wait_until(lambda: upstreams(world) == [bad], 20, "the bad resolver to be asked")
    for kind in ("lies", "slow", "loses", "FlAt"):
        assert short(host, f"{kind}.example") == [TRUTH], kind
    assert "FlAt.example." in dig(host, "FlAt.example"), "the client's own spelling"
    world.a.must("plugins", "config", "magicdns", f'upstreams=["{bad}", "{NAMES_IP}"]')
    wait_until(lambda: upstreams(world) == [bad, NAMES_IP], 20, "both to be asked")
    assert short(host, "dead.example") == ["198.51.100.10"]
    world.a.must("plugins", "config", "magicdns", "upstreams=[]")
    wait_until(lambda: upstreams(world) == [NAMES_IP], 30, "the host's own resolver again")
    program.stop()


def check_changed_under_us(world: World) -> None:
    """A DHCP client writes the resolver of another network into the host's file, and later the former one."""
    world.names.ip(f"addr add {OTHER_NAMES_IP}/24 dev eth0")
    resolv_conf, lease = world.etc / "resolv.conf", world.etc / "resolv.conf.dhclient-new"
    for text, server in ((f"nameserver {OTHER_NAMES_IP}\n", OTHER_NAMES_IP), (FORMER, NAMES_IP)):
        lease.write_text(text)
        lease.replace(resolv_conf)
        wait_until(lambda: f"nameserver {SERVICE}" in resolv_conf.read_text(), 30, "the file to be ours again")
        wait_until(lambda server=server: upstreams(world) == [server], 30, f"{server} to be asked")
        world.a.must("dns", "flush")
        assert short(world.sites.site_a.gateway, "www.example") == ["198.51.100.7"]


def test_ok__names_for_the_host_and_its_site(world: World) -> None:
    sites, host, lan_host = world.sites, world.sites.site_a.gateway, world.sites.site_a.host
    resolv_conf = world.etc / "resolv.conf"
    sites.join()
    wait_until(lambda: f"nameserver {SERVICE}" in resolv_conf.read_text(), 40, "the host's resolver to be set")
    status = world.a.json("dns", "status")
    suffix = status["search"][0]
    other = next(p for p in world.a.status()["peers"] if p["name"].startswith("gateway-b"))["addresses"][0]

    # Names of the mesh, by service address, in both directions, with the letters' case kept.
    wait_until(lambda: short(host, f"gateway-b.{suffix}") == [other], 20, "the peer's name")
    assert short(host, "gateway-b") == [other]
    assert short(host, "-x", other) == [f"gateway-b.{suffix}."]
    assert f"GateWay-B.{suffix}." in dig(host, f"GateWay-B.{suffix}")
    assert short(host, f"gateway-b.{suffix}", "+tcp") == [other]
    assert "NXDOMAIN" in dig(host, f"nobody.{suffix}")
    assert short(host, "10-1-1-16-via-7", "AAAA") == ["fd7a:115c:a1e0:b1a:0:7:a01:110"]
    assert short(host, "gateway-b", server="fd7a:115c:a1e0::53") == [other]

    # All others by the resolver that the host had, which its own file no longer names.
    assert short(host, "www.example") == ["198.51.100.7"]
    assert short(host, "alias.example") == ["www.example.", "198.51.100.7"]
    assert "NXDOMAIN" in dig(host, "nothing.invalid")
    long = dig(host, "big.example", "TXT", "+bufsize=1232", "+ignore")
    assert " tc " in long
    assert "ANSWER: 0" in long
    assert dig(host, "big.example", "TXT").count("x" * 240) == 12
    answer = world.a.json("dns", "query", "www.example")
    assert (answer["rcode"], answer["answers"][0]["data"]) == ("NOERROR", "198.51.100.7")

    # While an exit is in use it looks names up, and says so to nobody else.
    sites.b.must("plugins", "config", "magicdns", f'upstreams=["{NAMES_IP}"]')
    sites.b.must("exit", "offer")
    sites.control.json("routes", "approve", "gateway-b", "exit")
    wait_until(lambda: world.a.json("exit", "list"), 30, "the exit to be offered")
    world.a.must("exit", "use", "gateway-b")
    wait_until(
        lambda: upstreams(world) == [f"http://{other}:{peerapi_port(world)}/dns-query"], 30, "the exit's resolver"
    )
    assert short(host, "late.example") == ["198.51.100.8"]
    assert "from 203.0.113.20" in queries(world, "late.example")
    assert "from 203.0.113.10" not in queries(world, "late.example")
    world.a.must("exit", "off")
    wait_until(lambda: upstreams(world) == [NAMES_IP], 30, "the host's own resolver again")
    world.a.must("dns", "flush")

    # A wrong setting is named, and changes nothing.
    refused = world.a.run("plugins", "config", "magicdns", 'upstreams=["dns.example"]')
    assert refused.code == 1
    assert "plugins.magicdns.upstreams[0]" in refused.stderr
    assert "→ write 9.9.9.9" in refused.stderr
    assert short(host, "www.example") == ["198.51.100.7"]

    # The site: refused, then served, without the private address of a public name; peers stay refused.
    assert short(lan_host, "gateway-b", server=sites.site_a.gateway_ip) == []
    world.a.must("plugins", "config", "magicdns", "serve_lan=true")
    lan = sites.site_a.gateway_ip
    wait_until(lambda: short(lan_host, "gateway-b", server=lan) == [other], 20, "the site to be served")
    assert short(lan_host, "www.example", server=lan) == ["198.51.100.7"]
    assert short(lan_host, "evil.example", server=lan) == []
    assert short(host, "evil.example") == ["192.168.10.99"]
    own = world.a.status()["self_node"]["addresses"][0]
    assert short(sites.site_b.gateway, "gateway-b", server=own) == []

    check_stock_resolver_as_client(world, suffix, other)
    check_bad_upstreams(world)
    check_changed_under_us(world)
    check_loop(world, other)

    # The cache outlives the resolver.
    assert short(host, "late.example") == ["198.51.100.8"]
    for process in world.names.processes:
        process.stop()
    assert short(host, "late.example") == ["198.51.100.8"]

    # What a killed daemon left goes with the clean-up that systemd runs, or with the next start.
    world.a.kill()
    assert SERVICE in resolv_conf.read_text()
    cleaned = command(
        host, *world.a.wrapper, str(PROGRAMS / "waypostd"), *world.a.options, *own_state(world), "--clean-up"
    )
    assert cleaned.code == 0, cleaned.stderr
    assert resolv_conf.read_text() == FORMER
    world.a.start()
    wait_until(lambda: SERVICE in resolv_conf.read_text(), 40, "the host's resolver to be set anew")

    # Killed, the host's file is ours still; the next start uses what was before, and a clean end puts it back.
    world.a.kill()
    assert SERVICE in resolv_conf.read_text()
    world.a.start()
    wait_until(lambda: short(host, "gateway-b") == [other], 40, "names after the crash")
    assert upstreams(world) == [NAMES_IP]
    world.a.must("down")
    wait_until(lambda: resolv_conf.read_text() == FORMER, 20, "the host's file to be as before")
    world.a.must("up")
    wait_until(lambda: SERVICE in resolv_conf.read_text(), 40, "the host's resolver to be set again")
    assert world.a.process is not None
    world.a.process.stop()
    assert resolv_conf.read_text() == FORMER
