"""An exit never leaks, on real packets, both IP versions.

    host-a ──┐
             LAN A ── gateway-a ══ tunnel ══ gateway-b ── LAN B ── nat-b ── Internet ── web .2, .3
    other-a ─┘  └──── nat-a (the uplink that is watched) ─────────────────────┘

Programs on gateway-a and host-a try to reach the web server all the time. What nat-a sees of that is a leak. The exit
is not for other-a, nor for the web server's second address, and for a while not for gateway-a itself.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.lab.mesh import PROGRAMS, fetch, page, web_server
from tests.lab.namespaces import SEARCH_PATH, Lab, Namespace
from tests.lab.processes import wait_until
from tests.lab.raw_packets import addresses
from tests.lab.router_host import snapshot
from tests.lab.sites import TwoSites, two_sites
from tests.lab.topology import INTERNET_V6, Site
from tests.lab.uplink_watch import UplinkWatch

pytestmark = [pytest.mark.lab, pytest.mark.timeout(420)]

WEB_V4, WEB_V6 = "203.0.113.2", str(ip_address(f"{INTERNET_V6}::2"))
URLS = (f"http://{WEB_V4}/who", f"http://[{WEB_V6}]/who")
EXCEPTED_V4, EXCEPTED_V6 = "203.0.113.3", str(ip_address(f"{INTERNET_V6}::3"))
EXCEPTED_URLS = (f"http://{EXCEPTED_V4}/who", f"http://[{EXCEPTED_V6}]/who")
OTHER = frozenset({"192.168.10.11", "2001:db8:10::11"})
GATEWAY = frozenset({"192.168.10.2", "2001:db8:10::2"})
CHATTER = Path(__file__).with_name("chatter.py")
WHO = """import http.server, socketserver, sys, socket
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = self.client_address[0].removeprefix("::ffff:").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
class Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = True
with Server(("::", 80), Handler) as server:
    print("serving", flush=True)
    server.serve_forever()
"""


UNIT = "waypostd.service"


class Jobs:
    """What `systemctl list-jobs` says to gateway-a, in the words of systemd 252: there is none in the lab."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        program = folder / "systemctl"
        program.write_text(f"#!/bin/sh\nexec cat {folder}/jobs\n")
        program.chmod(0o755)

    @property
    def wrapper(self) -> tuple[str, ...]:
        """Before a command, as its unit would have it."""
        return ("env", f"PATH={self.folder}:{SEARCH_PATH}", f"WAYPOST_UNIT={UNIT}")

    def say(self, kind: str) -> None:
        (self.folder / "jobs").write_text(f"812 {UNIT} {kind} running\n")


@dataclass
class ExitWorld:
    """Two sites with IPv6 as well, and a web server on the Internet that says who asks."""

    sites: TwoSites
    web: Namespace
    other: Namespace
    jobs: Jobs

    def seen_from(self, host: Namespace) -> tuple[str | None, str | None]:
        """Who the web server thinks `host` is, by IPv4 and by IPv6."""
        return fetch(host, URLS[0], 2), fetch(host, URLS[1], 2)

    def leaves_past_the_exit(self) -> bool:
        """What the exit is not for goes out by site A itself, in both IP versions."""
        site = self.sites.site_a
        expected = [f"203.0.113.{site.index}", str(ip_address(f"{INTERNET_V6}::{site.index}"))]
        by_other = [fetch(self.other, url, 3) for url in URLS]
        excepted = [fetch(host, url, 3) for host in (site.gateway, site.host) for url in EXCEPTED_URLS]
        return by_other == expected and excepted == expected * 2

    def box_is_reachable(self) -> bool:
        """A host of the LAN, which is no node, gets a page from gateway-a."""
        return fetch(self.sites.site_a.router, f"http://{self.sites.site_a.gateway_ip}:8000/", 3) == "page of the box"


def add_ipv6(site: Site) -> None:
    """A global prefix on the LAN; the NAT box hides it as it hides IPv4."""
    prefix = f"2001:db8:{site.index}"
    site.router.sysctl("net.ipv6.conf.all.forwarding", 1)
    site.router.ip(f"addr add {prefix}::1/64 dev lan nodad")
    site.gateway.ip(f"addr add {prefix}::2/64 dev eth0 nodad")
    site.gateway.ip(f"route add default via {prefix}::1")
    site.host.ip(f"addr add {prefix}::10/64 dev eth0 nodad")


def add_host(lab: Lab, site: Site, number: int) -> Namespace:
    """One more host of the LAN, which has the gateway as its default route."""
    host, prefix = lab.namespace(f"other-{site.name}"), f"2001:db8:{site.index}"
    for kind in ("iptables", "ip6tables"):  # else the box tracks a packet when it passes its switch, and does no NAT
        site.router.run("sysctl", "-q", "-w", f"net.bridge.bridge-nf-call-{kind}=0", check=False)
    lab.cable(site.router, "lan2", host, "eth0")
    site.router.ip("link set lan2 master lan")
    host.ip(f"addr add 192.168.{site.index}.{number}/24 dev eth0")
    host.ip(f"addr add {prefix}::{number}/64 dev eth0 nodad")
    host.ip(f"route add default via {site.gateway_ip}")
    host.ip(f"route add default via {prefix}::2")
    return host


def hardware_address(host: Namespace) -> str:
    return str(json.loads(host.run("ip", "-j", "link", "show", "eth0"))[0]["address"])


def exit_world(lab: Lab, directory: Path) -> ExitWorld:
    sites = two_sites(lab, directory)
    for site in (sites.site_a, sites.site_b):
        add_ipv6(site)
    # LAN A's host leaves through its gateway.
    sites.site_a.host.ip(f"route add default via {sites.site_a.gateway_ip}")
    sites.site_a.host.ip(f"route add default via 2001:db8:{sites.site_a.index}::2")
    web = sites.internet.server("web", 2)
    web.ip(f"addr add {EXCEPTED_V4}/24 dev eth0")
    web.ip(f"addr add {EXCEPTED_V6}/64 dev eth0 nodad")
    web.start("who", sys.executable, "-c", WHO).wait_for_output("serving")
    page(directory / "box", "page of the box")
    web_server(sites.site_a.gateway, "0.0.0.0", directory / "box", 8000)
    jobs = Jobs(directory / "systemd")
    sites.a.wrapper = jobs.wrapper
    return ExitWorld(sites, web, add_host(lab, sites.site_a, 11), jobs)


def join(world: ExitWorld) -> None:
    sites = world.sites
    for gateway, name in ((sites.b, "gateway-b"), (sites.a, "gateway-a")):
        gateway.start()
        gateway.up(sites.control.pre_auth_key("demo"), "--hostname", name)
    sites.b.must("exit", "offer")
    wait_until(lambda: len(sites.control.json("routes", "list")) == 2, 20, "the offer to reach control")
    sites.control.json("routes", "approve", "gateway-b", "exit")
    wait_until(lambda: sites.a.json("exit", "list"), 20, "the exit to be offered to gateway-a")


def goes_out(packet: bytes, spared: Collection[str]) -> bool:
    """Toward the web server, from whom the exit is for; its answers to LAN A's host pass by the same cable."""
    source, destination = addresses(packet)
    return destination in (WEB_V4, WEB_V6) and source not in spared


def wait_for_exit(world: ExitWorld, host: Namespace, site: Site) -> None:
    """`host` appears on the Internet as that site."""
    expected = f"203.0.113.{site.index}", str(ip_address(f"{INTERNET_V6}::{site.index}"))
    wait_until(lambda: world.seen_from(host) == expected, 40, f"{host.name} to leave by {site.name}")


def only(host: Namespace) -> tuple[str, ...]:
    """The exit is for this host, by its hardware address, and for two prefixes that nobody has, less one of them."""
    named = (hardware_address(host), "192.168.10.64/26", "2001:db8:10:40::/64")
    return (*(word for name in named for word in ("--host", name)), "--not-host", "192.168.10.66", "--not-host", "eth7")


EXCEPTED = ("--direct", EXCEPTED_V4, "--direct", EXCEPTED_V6)


def codes(sites: TwoSites) -> set[str]:
    return {item["code"] for item in sites.a.status()["health"]}


def check_silence(world: ExitWorld, watch: UplinkWatch, what: str) -> None:
    """While the programs chatter on, and the box answers the LAN; the watch sees those packets at least."""
    enough = watch.packets + 20

    def seen_enough() -> bool:
        assert world.box_is_reachable(), what
        return watch.packets > enough

    for _ in range(2):
        assert world.box_is_reachable(), what
    wait_until(seen_enough, 20, f"packets on the uplink ({what})")
    leaked = watch.take()
    assert not leaked, f"{what}: {len(leaked)} packets left outside the tunnel, the first: {leaked[:5]}"


def check_switching_from_control(world: ExitWorld) -> None:
    """What is confirmed stays; what is not goes back."""
    sites = world.sites
    sites.control.json("nodes", "exit", "gateway-a", "gateway-b")
    assert sites.control.run("nodes", "confirm", "gateway-a").code == 0
    wait_until(lambda: sites.control.json("nodes", "exit", "gateway-a")["exit"] == "gateway-b", 20, "control to know")
    sites.control.json("nodes", "exit", "gateway-a", "auto", "--region", "nowhere", "--confirm-within", "5s")
    wait_until(lambda: not sites.a.json("exit", "status")["reachable"], 20, "the exits of a region that has none")
    wait_for_exit(world, sites.site_a.gateway, sites.site_b)


def check_gateway_direct(world: ExitWorld, watch: UplinkWatch, spared: set[str]) -> None:
    """The exit, which is gone and comes back, is for LAN A's host alone: the gateway leaves by itself all the time."""
    sites, gateway, host = world.sites, world.sites.site_a.gateway, world.sites.site_a.host
    spared |= GATEWAY
    sites.a.must("exit", "use", "gateway-b", "--gateway-direct")
    wait_for_exit(world, gateway, sites.site_a)
    check_silence(world, watch, "no exit for the host, and the gateway direct")
    assert world.seen_from(host) == (None, None)
    sites.a.kill()
    check_silence(world, watch, "the daemon of a direct gateway killed")
    wait_for_exit(world, gateway, sites.site_a)
    sites.a.start()
    sites.b.start()
    wait_for_exit(world, host, sites.site_b)
    check_silence(world, watch, "the exit back for the host alone")
    assert world.leaves_past_the_exit()
    wait_for_exit(world, gateway, sites.site_a)
    sites.a.must("exit", "use", "gateway-b", "--gateway-too")
    wait_for_exit(world, gateway, sites.site_b)
    watch.take()
    spared -= GATEWAY


def clean_up(world: ExitWorld, result: str) -> None:
    """As systemd runs it after the end of the daemon."""
    world.sites.site_a.gateway.run(
        *world.jobs.wrapper, f"SERVICE_RESULT={result}", str(PROGRAMS / "waypostd"), *own_places(world), "--clean-up"
    )


def own_places(world: ExitWorld) -> tuple[str, ...]:
    a = world.sites.a
    return ("--state-dir", str(a.directory / "state"), "--socket", str(a.socket), *a.options)


def check_crash_and_boot(world: ExitWorld, watch: UplinkWatch) -> None:
    """What systemd runs after a crash takes routes and settings back and leaves the guard; a boot makes it anew."""
    gateway = world.sites.site_a.gateway
    clean_up(world, "signal")
    assert not gateway.ip("route show table 52")
    check_silence(world, watch, "cleaned up after a crash")
    world.jobs.say("stop")
    clean_up(world, "success")
    wait_until(lambda: watch.seen, 10, "traffic to leave after a regular end, and where a boot begins")
    gateway.run(str(PROGRAMS / "waypostd"), *own_places(world), "--restore-guard")
    watch.take()
    check_silence(world, watch, "booted, the daemon not started")


def check_hand_over(world: ExitWorld, watch: UplinkWatch) -> None:
    """From one profile to another, both of which use the exit, and from one run to the next at a restart."""
    sites, gateway = world.sites, world.sites.site_a.gateway
    sites.a.up(sites.control.pre_auth_key("other"), "--profile", "second", "--hostname", "gateway-a-second")
    wait_until(lambda: runs_as(sites, "gateway-a-second"), 40, "the second profile")
    wait_until(lambda: sites.a.json("exit", "list"), 20, "the exit to be offered to the second profile")
    sites.a.must("exit", "use", "gateway-b", "--site")
    wait_for_exit(world, gateway, sites.site_b)
    watch.take()
    sites.a.must("profiles", "switch", "default")
    wait_until(lambda: runs_as(sites, "gateway-a"), 40, "the first profile again")
    check_silence(world, watch, "switched to another profile")
    assert sites.a.process is not None
    world.jobs.say("restart")
    assert sites.a.process.stop(30) == 0
    clean_up(world, "success")
    assert not gateway.ip("route show table 52")
    check_silence(world, watch, "stopped for a restart")
    sites.a.start()
    wait_for_exit(world, gateway, sites.site_b)
    check_silence(world, watch, "restarted")
    assert sites.control.run("nodes", "delete", "gateway-a-second", "--yes").code == 0  # its addresses are routes here


def runs_as(sites: TwoSites, name: str) -> bool:
    """Whether gateway-a is in the mesh by that name."""
    found = sites.a.run("status", "--json")
    if found.code:
        return False
    status = found.json()
    return status["state"] == "running" and status["self_node"]["name"].partition(".")[0] == name


def roam(site: Site) -> None:
    """The uplink goes and comes back, addresses and default routes with it."""
    site.gateway.ip("link set eth0 down")
    site.gateway.ip("link set eth0 up")
    site.gateway.ip(f"route add default via 192.168.{site.index}.1 dev eth0")
    site.gateway.ip(f"addr add 2001:db8:{site.index}::2/64 dev eth0 nodad")
    site.gateway.ip(f"route add default via 2001:db8:{site.index}::1 dev eth0")


def test_ok__nothing_leaves_outside_the_tunnel(lab: Lab, tmp_path: Path) -> None:
    world = exit_world(lab, tmp_path)
    sites, gateway, host = world.sites, world.sites.site_a.gateway, world.sites.site_a.host
    gateway.sysctl("net.ipv4.conf.all.rp_filter", 1)  # strict hosts must hear answers by either way
    join(world)
    before = snapshot(gateway)
    chatter = [each.start("chatter", sys.executable, str(CHATTER), WEB_V4, WEB_V6) for each in (gateway, host)]
    for process in chatter:
        process.wait_for_output("chattering")
    spared = set(OTHER)
    with UplinkWatch(sites.site_a.router, "lan0", lambda packet: goes_out(packet, spared)) as watch:
        wait_until(lambda: watch.seen, 10, "the watch to see what it must not see later")
        sites.a.must("exit", "use", "gateway-b", "--site", *only(host), *EXCEPTED)
        wait_for_exit(world, gateway, sites.site_b)
        wait_for_exit(world, host, sites.site_b)
        assert sites.a.json("exit", "status")["reachable"] is True
        watch.take()
        check_silence(world, watch, "the exit in use")
        wait_until(world.leaves_past_the_exit, 20, "what the exit is not for to leave directly")
        assert sites.a.process is not None
        sites.a.process.popen.send_signal(signal.SIGSTOP)
        check_silence(world, watch, "the daemon asleep")
        sites.a.process.popen.send_signal(signal.SIGCONT)
        roam(sites.site_a)
        check_silence(world, watch, "another network")
        wait_for_exit(world, gateway, sites.site_b)
        sites.b.kill()
        check_silence(world, watch, "the exit's daemon killed")
        assert world.seen_from(gateway) == (None, None)
        assert world.leaves_past_the_exit()
        assert sites.a.status()["control"]["connected"]
        sites.a.kill()
        check_silence(world, watch, "the own daemon killed as well")
        assert world.leaves_past_the_exit()
        check_crash_and_boot(world, watch)
        sites.a.start()
        wait_until(lambda: sites.a.status()["control"]["connected"], 30, "control to be reached without an exit")
        check_silence(world, watch, "the own daemon started while the exit is gone")
        check_gateway_direct(world, watch, spared)
        check_silence(world, watch, "the exit back")
        sites.a.must("exit", "use", "gateway-b", "--all-hosts")
        wait_for_exit(world, world.other, sites.site_b)
        check_switching_from_control(world)
        check_silence(world, watch, "the exit switched from control")
        check_hand_over(world, watch)
        sites.control.json("routes", "revoke", "gateway-b", "exit")
        wait_until(lambda: "exit_node.exit-lost" in codes(sites), 30, "the loss of the exit to be said")
        check_silence(world, watch, "the exit withdrawn")
        sites.a.must("exit", "off")
        wait_until(lambda: watch.seen, 10, "traffic to leave directly again")
    for process in chatter:
        process.stop()
    wait_until(lambda: snapshot(gateway) == before, 20, "the host to be as before the exit")
