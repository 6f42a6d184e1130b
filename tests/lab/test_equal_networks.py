"""Two sites with one and the same IPv4 network reach each other's hosts.

host-a 192.168.1.10 ── .2 gateway-a ── Internet ── gateway-b .2 ── 192.168.1.10 host-b
fd00:a::10             site 7, 10.7.1.0/24         site 8, 10.8.1.0/24       IPv4 only
"""

from __future__ import annotations

import errno
import json
import re
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.mesh import ControlServer, Gateway, command, fetch, fetch_hash, large_file, page, web_server
from tests.lab.namespaces import Lab, Namespace
from tests.lab.processes import Process, wait_until
from tests.lab.router_host import inside
from tests.lab.topology import Internet

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

NETWORK, GATEWAY_IP, HOST_IP = "192.168.1.0/24", "192.168.1.2", "192.168.1.10"
NAME, VIA = "192-168-1-10-via-8", "fd7a:115c:a1e0:b1a:0:8:c0a8:10a"
TRANSLATED, TRANSLATED_V6 = "192-168-1-10-via-gateway-b", "fd00-1--10-via-gateway-b"
DEVICE = "waypost-4via6"
MEGABYTES = 6
IP_MTU_DISCOVER, IP_PMTUDISC_DO = 10, 2
MBIT = 40
LATE = 90
"""Seconds at most until limits hold and are counted: in an emulated guest each look takes some."""
BURST = 2000
"""Packets; a TUN device holds 500."""


@dataclass
class World:
    control: ControlServer
    hosts: dict[str, Namespace]
    gateways: dict[str, Gateway]
    web: Process
    """Of host-b, with a line per request."""
    large_hash: str


def build(lab: Lab, directory: Path, megabytes: int = MEGABYTES) -> World:
    internet = Internet(lab)
    control = ControlServer(internet.server("control", 1), directory / "control")
    hosts, gateways = {}, {}
    for number, name in enumerate(("a", "b")):
        gateway, host = internet.server(f"gateway-{name}", 10 + number), lab.namespace(f"host-{name}")
        lab.cable(gateway, "eth1", host, "eth0")
        gateway.ip(f"addr add {GATEWAY_IP}/24 dev eth1")
        host.ip(f"addr add {HOST_IP}/24 dev eth0")
        page(directory / name, f"page of host {name}")
        large_hash = large_file(directory / name, megabytes)
        web = web_server(host, HOST_IP, directory / name)
        hosts[name], gateways[name] = host, Gateway(gateway, directory / f"gateway-{name}")
    gateways["a"].host.ip("addr add fd00:a::2/64 dev eth1 nodad")
    hosts["a"].ip("addr add fd00:a::10/64 dev eth0 nodad")
    hosts["a"].ip("route add fd7a:115c:a1e0:b1a::/64 via fd00:a::2")
    for name, other in (("a", 8), ("b", 7)):
        gateways[name].host.ip("addr add fd00:1::2/64 dev eth1 nodad")
        hosts[name].ip("addr add fd00:1::10/64 dev eth0 nodad")
        hosts[name].ip(f"route add fd00:{other}::/64 via fd00:1::2")
        hosts[name].ip(f"route add 10.{other}.1.0/24 via {GATEWAY_IP}")
        hosts[name].ip(f"route add 100.64.0.0/10 via {GATEWAY_IP}")
    control.start()
    return World(control, hosts, gateways, web, large_hash)


def join(world: World) -> None:
    for name, site in (("a", 7), ("b", 8)):
        gateway = world.gateways[name]
        gateway.start()
        routes = f"{NETWORK}-via-{site}" + (",fd00:a::/64" if name == "a" else "")
        settings = {
            "subnet_router.translate": json.dumps(
                [f"{NETWORK} as 10.{site}.1.0/24", f"fd00:1::/64 as fd00:{site}::/64"]
            ),
            "magicdns.serve_lan": "true",
        }
        options = [word for key, value in settings.items() for word in ("--plugin", f"{key}={value}")]
        key = world.control.pre_auth_key("demo")
        gateway.up(key, "--hostname", f"gateway-{name}", "--advertise-routes", routes, "--accept-routes", *options)
        world.control.json("routes", "approve", f"gateway-{name}")


def resolved(host: Namespace, name: str, kind: str) -> str:
    """What a host of the site learns from its gateway; "" while there is no answer."""
    words = ("dig", f"@{GATEWAY_IP}", "+short", "+time=3", "+tries=1", name, kind)
    result = command(host, *words)
    return result.stdout.strip() if result.code == 0 else ""


def test_ok__hosts_of_equal_networks_meet_by_name(lab: Lab, tmp_path: Path) -> None:
    world = build(lab, tmp_path)
    join(world)
    through_4via6(world)
    one_to_one(world)
    limited(world, MBIT, MEGABYTES)
    own_routes_first(world, tmp_path)
    translation_shown(world)
    _taken_back(world)


def through_4via6(world: World) -> None:
    a = world.hosts["a"]
    wait_until(lambda: resolved(a, NAME, "AAAA"), 30, "the name of a host of site 8")
    via = resolved(a, NAME, "AAAA")
    assert via == VIA
    wait_until(lambda: fetch(a, f"http://[{via}]/", 3) == "page of host b", 40, "the page of host b by 4via6")
    digest, _ = fetch_hash(a, f"http://[{via}]/large.bin", 60)
    assert digest == world.large_hash
    assert command(a, "ping", "-6", "-c", "2", "-W", "5", "-s", "1000", via).code == 0
    refused = command(a, "curl", "-sS", "--max-time", "10", f"http://[{via}]:81/")
    assert refused.code == 7, f"refused by the host itself: {refused.stderr}"
    _large_datagrams(world, via)
    gateway = world.gateways["a"].host
    assert fetch(gateway, f"http://[{via}]/", 10) == "page of host b", "the gateway itself, by its overlay address"


def _large_datagrams(world: World, via: str) -> None:
    """In fragments both ways; and what may not be cut is told by ICMP."""
    with inside(world.hosts["b"]):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((HOST_IP, 7000))
    with inside(world.hosts["a"]):
        client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        client.connect((via, 7000))
    with server, client:
        server.settimeout(1)
        client.settimeout(1)
        wait_until(lambda: echoed(client, server), 30, "3,000 bytes there and back")
        client.send(b"who")
        _, peer = server.recvfrom(4000)
        server.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        wait_until(lambda: too_long(server, peer), 30, "the host to learn the MTU")


def echoed(client: socket.socket, server: socket.socket) -> bool:
    """The first ones are lost, until the sender knows the way's MTU."""
    question = bytes(range(250)) * 12
    try:
        client.send(question)
        data, peer = server.recvfrom(4000)
        server.sendto(data, peer)
        return client.recv(4000) == question
    except OSError:
        return False


def too_long(sender: socket.socket, peer: tuple[str, int]) -> bool:
    try:
        sender.sendto(bytes(1400), peer)
    except OSError as error:
        return error.errno == errno.EMSGSIZE
    return False


def one_to_one(world: World) -> None:
    a, b = world.hosts["a"], world.hosts["b"]
    address = "10.8.1.10"
    wait_until(lambda: resolved(a, TRANSLATED, "A") == address, 30, "the name of a host of the other site")
    assert resolved(a, TRANSLATED_V6, "AAAA") == "fd00:8::10"
    (domain,) = world.gateways["a"].json("dns", "status")["search"]
    assert resolved(a, "10.1.8.10.in-addr.arpa", "PTR") == f"{TRANSLATED}.{domain}."
    assert resolved(b, TRANSLATED, "A") == HOST_IP, "at its own site it has its own address"
    answer = world.gateways["a"].json("dns", "query", TRANSLATED)
    assert (answer["source"], answer["answers"][0]["data"]) == ("mesh", address)
    assert "192.168.1.0/24 as 10.8.1.0/24: 192-168-1-1-via-gateway-b" in world.gateways["a"].must("dns", "status")
    wait_until(
        lambda: fetch(a, f"http://{address}/", 3) == "page of host b", 30, "the page of host b by its other address"
    )
    wait_until(
        lambda: fetch(b, "http://10.7.1.10/", 3) == "page of host a", 30, "the page of host a by its other address"
    )
    assert command(a, "ping", "-6", "-c", "1", "-W", "5", "fd00:8::10").code == 0, "the same for IPv6"
    digest, _ = fetch_hash(a, f"http://{address}/large.bin", 60)
    assert digest == world.large_hash
    assert "10.7.1.10" not in world.web.output()
    world.gateways["b"].must("set", "--no-snat")
    wait_until(lambda: fetch(a, f"http://{address}/", 3) and "10.7.1.10" in world.web.output(), 30, "the true sender")


def limited(world: World, mbit: int, megabytes: int) -> bool:
    """What gateway-b sends to the network of site 7, and apart from it to gateway-a itself. Senders are true by now.

    Whether this kernel has fair queues inside the limits.
    """
    gateway, a = world.gateways["b"], world.hosts["a"]
    limits = [f"10.7.1.0/24 {mbit}mbit", "fd00:7::/64 64kbit", "gateway-a 1gbit"]
    gateway.must("plugins", "config", "subnet_router", f"limits={json.dumps(limits)}")
    wait_until(lambda: len(counted(gateway)) == 3, LATE, "the figures of all limits")
    digest, seconds = fetch_hash(a, "http://10.8.1.10/large.bin", 90)
    assert digest == world.large_hash
    least_s = megabytes * 8.39 / mbit
    print(f"{megabytes} MiB at {mbit} Mbit/s in {seconds:.1f} s, where {least_s:.1f} s is the least")
    assert seconds > 0.8 * least_s
    wait_until(lambda: counted(gateway)["10.7.1.0/24"]["sent_bytes"] > megabytes << 20, LATE, "the transfer in figures")
    before = counted(gateway)
    wait_until(lambda: fetch(world.gateways["a"].host, "http://10.8.1.10/", 5), LATE, "the page on gateway-a")
    sent = before["gateway-a"]["sent_bytes"]
    wait_until(lambda: counted(gateway)["gateway-a"]["sent_bytes"] > sent, LATE, "its own traffic in the other limit")
    assert counted(gateway)["10.7.1.0/24"]["sent_bytes"] < before["10.7.1.0/24"]["sent_bytes"] + (megabytes << 16)
    _drops_are_counted(world)
    fair = _leaves_are_fair(gateway)
    gateway.must("plugins", "config", "subnet_router", "limits=[]")
    wait_until(lambda: "htb" not in queues(gateway.host), LATE, "the queue to be gone")
    return fair


def _leaves_are_fair(gateway: Gateway) -> bool:
    """Else the gateway says why not."""
    fair = sorted(re.findall(r"qdisc fq_codel \S+ parent 5757:(\d)", queues(gateway.host)))
    plain = [item["text"] for item in gateway.status()["health"] if item["code"] == "limits-not-fair"]
    if fair:
        assert (fair, plain) == (["1", "2", "3"], [])
        return True
    assert len(plain) == 1
    assert "no fq_codel" in plain[0]
    return False


def own_routes_first(world: World, directory: Path) -> None:
    """Gateway-a has ways of its own to addresses of site 8: to host-a, which then answers for host-b."""
    gateway, a = world.gateways["a"], world.hosts["a"]
    ways = {"10.8.1.0/24": (HOST_IP, "10.8.1.10"), "fd00:8::/64": ("fd00:1::10", "fd00:8::10")}
    for network, (router, address) in ways.items():
        a.ip(f"addr add {address} dev lo nodad")
        gateway.host.ip(f"route add {network} via {router}")
    servers = [web_server(a, address, directory / "a") for _, address in ways.values()]
    servers.append(web_server(world.hosts["b"], "fd00:1::10", directory / "b"))
    world.hosts["b"].ip("route add fd7a:115c:a1e0::/48 via fd00:1::2")

    def pages() -> list[str | None]:
        return [fetch(gateway.host, url, 3) for url in ("http://10.8.1.10/", "http://[fd00:8::10]/")]

    wait_until(lambda: pages() == ["page of host b"] * 2, 20, "the mesh's routes, which go first")
    gateway.must("plugins", "config", "subnet_router", 'own_first=["all"]', 'mesh_first=["fd00:8::/48"]')
    wait_until(lambda: pages() == ["page of host a", "page of host b"], 20, "own routes, but for what is excepted")
    gateway.must("plugins", "config", "subnet_router", "mesh_first=[]")
    wait_until(lambda: pages() == ["page of host a"] * 2, 20, "own routes first in both IP versions")
    shown = {each["prefix"]: each["own_first"] for each in gateway.status()["routes"] if each["installed"]}
    assert shown == dict.fromkeys([*ways, f"{VIA[:-3]}100/120"], True)
    for network in ways:
        gateway.host.ip(f"route del {network}")
    assert pages() == ["page of host b"] * 2, "the mesh's routes, now that the own ones are gone"
    gateway.must("plugins", "config", "subnet_router", "own_first=[]")
    for server in servers:
        server.stop()
    for _, address in ways.values():
        a.ip(f"addr del {address} dev lo")


def queues(host: Namespace) -> str:
    return host.run("tc", "qdisc", "show", "dev", "waypost0")


def counted(gateway: Gateway) -> dict[str, dict[str, int]]:
    """What each limit that holds did, by target."""
    shown = gateway.json("limits")["limits"]
    return {each["target"]: each["traffic"] for each in shown if each["traffic"] is not None}


def _drops_are_counted(world: World) -> None:
    """A burst of a host that no queue holds."""
    with inside(world.hosts["b"]), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        for _ in range(BURST):
            sock.sendto(bytes(1000), ("fd00:7::10", 7000))
    gateway = world.gateways["b"]
    wait_until(lambda: counted(gateway)["fd00:7::/64"]["dropped_packets"] > 0, LATE, "drops in the figures")
    samples = gateway.must("metrics")
    dropped = re.search(r'waypost_limit_dropped_packets_total\{.*limit="fd00:7::/64".*\} (\d+)', samples)
    assert dropped is not None
    assert 0 < float(dropped[1]) < BURST
    assert re.search(r"fd00:7::/64 +to 64kbit/s, \d+ bytes in \d+ packets passed, \d+ dropped", gateway.must("limits"))


def translation_shown(world: World) -> None:
    seen = json.loads(world.gateways["b"].must("plugins", "run", "subnet_router", "translation"))
    assert seen["4via6"] == [
        {"route": f"{VIA[:-3]}100/120", "site": 8, "network": NETWORK, "name": "192-168-1-1-via-8"}
    ]
    assert seen["counters"]["to_site"] > 0 < seen["counters"]["to_mesh"]
    assert seen["counters"]["senders"] == 2


def _taken_back(world: World) -> None:
    gateway, a = world.gateways["b"], world.hosts["a"]
    assert DEVICE in gateway.host.ip("link")
    gateway.must("set", "--advertise-routes", "")
    wait_until(lambda: DEVICE not in gateway.host.ip("link"), 20, "the device to be gone")
    assert fetch(a, f"http://[{VIA}]/", 2) is None
    assert fetch(a, "http://10.8.1.10/", 10) == "page of host b", "the other way stays"
    rules = gateway.host.run("nft", "list", "table", "inet", "waypost")
    assert "198.18.0.0" not in rules
