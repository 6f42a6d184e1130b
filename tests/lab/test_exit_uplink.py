"""An exit whose users go on by a link of its own or by a proxy, on real packets, both IP versions.

gateway-a ══ tunnel ══ gateway-b ── wireguard-go ══ provider ── Internet ── web .2
                           └────── nat-b (the uplink that is watched: the web server must never be asked there)
"""

from __future__ import annotations

import os
import sys
from base64 import b64encode
from ipaddress import ip_address
from pathlib import Path

import pytest

from appliance.crypto.x25519 import clamp, x25519_public
from tests.lab.dnsmasq import alone
from tests.lab.mesh import Gateway
from tests.lab.namespaces import Lab, Namespace
from tests.lab.processes import wait_until
from tests.lab.raw_packets import addresses
from tests.lab.test_dns import short
from tests.lab.test_exit import CHATTER, WEB_V4, WEB_V6, ExitWorld, exit_world, join, wait_for_exit
from tests.lab.topology import INTERNET_V6
from tests.lab.uplink_watch import UplinkWatch

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(400)]

NEAR, FAR = f"wgn{os.getpid() % 1000000}", f"wgf{os.getpid() % 1000000}"
PROVIDER = 60
BY_PROVIDER = f"203.0.113.{PROVIDER}", str(ip_address(f"{INTERNET_V6}::{PROVIDER}"))
NEAR_V6 = "fd64::2/64"
DANTE = """logoutput: stdout
internal: 0.0.0.0 port = 1080
external: eth0
socksmethod: none
clientmethod: none
user.privileged: root
user.unprivileged: root
client pass {
    from: 0/0 to: 0/0
}
socks pass {
    from: 0/0 to: 0/0
    command: connect udpassociate bindreply udpreply
    log: connect
}
"""
UDP_WHO = """import socket, sys
sock = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((sys.argv[1], 9999))
print("serving", flush=True)
while True:
    size, source = sock.recvfrom(65535)
    sock.sendto(source[0].encode().ljust(int(size)), source)
"""
ASK = """import socket, sys
host, size = sys.argv[1:]
sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(2)
sock.connect((host, 9999))
try:
    sock.send(size.encode())
    answer = sock.recv(65535)
    print(answer.decode().strip() if len(answer) == int(size) else "cut")
except TimeoutError:
    print("")
except OSError:
    print("refused")
"""
NAT = """table inet provider {
    chain out {
        type nat hook postrouting priority 100;
        oifname "eth0" masquerade
    }
}"""


def wireguard(near: Namespace, far: Namespace) -> None:
    """A tunnel from `near` to `far`, which is a way to the Internet and has a resolver."""
    secrets = {name: clamp(os.urandom(32)) for name in (NEAR, FAR)}
    for host, own, other, more in (
        (near, NEAR, FAR, f"AllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = 203.0.113.{PROVIDER}:51820\n"),
        (far, FAR, NEAR, "AllowedIPs = 10.64.0.2/32, fd64::2/128\n"),
    ):
        host.start(own, "wireguard-go", "--foreground", own)
        wait_until(lambda host=host, own=own: own in host.run("ip", "-br", "link"), 10, f"the device {own}")
        text = f"[Interface]\nPrivateKey = {b64encode(secrets[own]).decode()}\nListenPort = 51820\n"
        text += f"[Peer]\nPublicKey = {b64encode(x25519_public(secrets[other])).decode()}\n{more}"
        host.run("wg", "setconf", own, "/dev/stdin", stdin=text)
    near.ip(f"addr add 10.64.0.2/24 dev {NEAR}")
    near.ip(f"addr add {NEAR_V6} dev {NEAR} nodad")
    far.ip(f"addr add 10.64.0.1/24 dev {FAR}")
    far.ip(f"addr add fd64::1/64 dev {FAR} nodad")
    for host, link in ((near, NEAR), (far, FAR)):
        host.ip(f"link set {link} up")
    far.sysctl("net.ipv4.ip_forward", 1)
    far.sysctl("net.ipv6.conf.all.forwarding", 1)
    far.nft(NAT)
    resolver = ("--no-resolv", "--no-hosts", "--address=/www.example/198.51.100.7", "--user=root")
    far.start("dnsmasq", "dnsmasq", *alone(), *resolver)


def proxies(provider: Namespace, directory: Path) -> None:
    (directory / "danted.conf").write_text(DANTE)
    provider.start("dante", "danted", "-f", str(directory / "danted.conf")).wait_for_output("running")
    program = Path(__file__).with_name("proxy_program.py")
    words = ("::", "3128", "ann:secret")
    provider.start("proxy", sys.executable, str(program), *words).wait_for_output("listening")


def heard_as(host: Namespace, address: str, size: int = 100) -> str:
    """Who the web server takes `host` for by UDP; what it answers has that size. "" for no answer."""
    return host.run(sys.executable, "-c", ASK, address, str(size), check=False).strip()


def goes_to_web(packet: bytes) -> bool:
    return addresses(packet)[1] in (WEB_V4, WEB_V6)


def by_provider(world: ExitWorld) -> bool:
    return world.seen_from(world.sites.site_a.gateway) == BY_PROVIDER


def codes(gateway: Gateway) -> set[str]:
    return {item["code"] for item in gateway.status()["health"]}


def check_proxies(world: ExitWorld, provider: Namespace, directory: Path) -> None:
    """TCP by the proxies, names too; UDP by the one that carries it, else not at all."""
    sites, user, credentials = world.sites, world.sites.site_a.gateway, directory / "proxy"
    proxies(provider, directory)
    credentials.write_text("ann:secret\n")
    for address in (WEB_V4, WEB_V6):
        world.web.start("udp", sys.executable, "-c", UDP_WHO, address).wait_for_output("serving")
    sites.b.must("exit", "offer", "--uplink", f"socks5://203.0.113.{PROVIDER}:1080", "--uplink-resolver", "10.64.0.1")
    wait_until(lambda: by_provider(world) and was_asked(provider, "dante"), 60, "gateway-a to leave by the SOCKS proxy")
    wait_until(lambda: not sites.b.json("exit", "status")["uplink_no_udp"], 20, "the SOCKS proxy to carry UDP")
    wait_until(lambda: heard_as(user, WEB_V4) == BY_PROVIDER[0], 20, "IPv4 UDP to leave by the SOCKS proxy")
    wait_until(lambda: heard_as(user, WEB_V6) == BY_PROVIDER[1], 20, "IPv6 UDP to leave by the SOCKS proxy")
    assert heard_as(user, WEB_V4, 3000) == BY_PROVIDER[0], "an answer in fragments"
    sites.a.must("dns", "flush")
    wait_until(lambda: short(user, "www.example") == ["198.51.100.7"], 20, "a name beyond the SOCKS proxy")
    http = f"http://[{INTERNET_V6}::{PROVIDER}]:3128"
    sites.b.must("exit", "offer", "--uplink", http, "--uplink-credentials", str(credentials))
    wait_until(lambda: by_provider(world) and was_asked(provider, "proxy"), 60, "gateway-a to leave by the HTTP proxy")
    assert "HTTP" in sites.b.json("exit", "status")["uplink_no_udp"]
    assert heard_as(user, WEB_V4) == heard_as(user, WEB_V6) == "refused"
    sites.b.must("exit", "offer", "--uplink", f"socks5://203.0.113.{PROVIDER}:9")
    wait_until(lambda: "exit_node.exit-uplink-away" in codes(sites.b), 40, "the loss of the proxy to be said")
    assert world.seen_from(user) == (None, None)


def was_asked(provider: Namespace, kind: str) -> bool:
    asked = {"dante": f" {WEB_V4}.80", "proxy": f"CONNECT {WEB_V4} 80"}[kind]
    return any(kind in each.name and asked in each.output() for each in provider.processes)


def test_ok__users_of_an_exit_go_on_by_its_link_or_not_at_all(lab: Lab, tmp_path: Path) -> None:
    world = exit_world(lab, tmp_path)
    sites, exit_host = world.sites, world.sites.site_b.gateway
    provider = sites.internet.server("provider", PROVIDER)
    wireguard(exit_host, provider)
    join(world)
    sites.b.must("exit", "offer", "--uplink", NEAR, "--uplink-resolver", "10.64.0.1")
    chatter = sites.site_a.gateway.start("chatter", sys.executable, str(CHATTER), WEB_V4, WEB_V6)
    with UplinkWatch(sites.site_b.router, "lan0", goes_to_web) as watch:
        sites.a.must("exit", "use", "gateway-b")
        wait_until(lambda: by_provider(world), 40, "gateway-a to leave by the provider")
        wait_until(lambda: short(sites.site_a.gateway, "www.example") == ["198.51.100.7"], 20, "a name beyond the link")
        assert sites.b.status()["control"]["connected"], "control is reached by the host's own routes"
        exit_host.ip(f"link set {NEAR} down")
        wait_until(lambda: "exit_node.exit-uplink-away" in codes(sites.b), 20, "the loss of the link to be said")
        wait_until(lambda: "exit_node.exit-lost" in codes(sites.a), 30, "the exit to be withdrawn")
        assert world.seen_from(sites.site_a.gateway) == (None, None)
        exit_host.ip(f"link set {NEAR} up")
        exit_host.ip(f"addr add {NEAR_V6} dev {NEAR} nodad")
        wait_until(lambda: by_provider(world), 40, "the link to be used again")
        sites.b.kill()
        assert world.seen_from(sites.site_a.gateway) == (None, None)
        sites.b.start()
        wait_until(lambda: by_provider(world), 40, "the link to be used after a crash")
        chatter.stop()
        check_proxies(world, provider, tmp_path)
        assert watch.packets > 20
        assert not watch.seen, f"{len(watch.seen)} packets left beside the link, the first: {watch.seen[:5]}"
        sites.b.must("exit", "offer", "--no-uplink")
        wait_for_exit(world, sites.site_a.gateway, sites.site_b)
    assert "waypost_guard" not in exit_host.run("nft", "list", "tables")
