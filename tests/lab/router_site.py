"""The host of router tests.

    peers ── TUN waypost0 ── gateway (router) ── lan0 192.168.10.1/24, fd10::1/64 ── host .5
                                              └─ wan0 203.0.113.2/24 (default route)

The test plays the peers: it writes packets into the TUN device and reads what comes out. Fixtures: `site`, `tunnel`,
`gateway` in conftest.py.
"""

from __future__ import annotations

import select
import socket
from dataclasses import dataclass
from pathlib import Path

from tests.lab.namespaces import Lab, Namespace
from tests.lab.router_host import inside

PEER, HOST, HOST6 = "100.64.0.2", "192.168.10.5", "fd10::5"


@dataclass
class RouterSite:
    gateway: Namespace
    host: Namespace
    journal: Path


def build_router_site(lab: Lab, journal: Path) -> RouterSite:
    gateway, host, wan = (lab.namespace(f"wprt-{name}") for name in ("gw", "host", "wan"))
    lab.cable(gateway, "lan0", host, "eth0")
    lab.cable(gateway, "wan0", wan, "eth0")
    gateway.ip("addr add 192.168.10.1/24 dev lan0")
    gateway.ip("addr add fd10::1/64 dev lan0")
    gateway.ip("addr add 203.0.113.2/24 dev wan0")
    gateway.ip("route add default via 203.0.113.1")
    gateway.sysctl("net.ipv4.conf.wan0.rp_filter", 1)
    gateway.sysctl("net.ipv4.conf.wan0.forwarding", 1)  # settings that a switch of forwarding would sweep away
    gateway.sysctl("net.ipv6.conf.lan0.forwarding", 1)
    gateway.sysctl("net.ipv4.conf.all.accept_redirects", 0)
    host.ip(f"addr add {HOST}/24 dev eth0")
    host.ip("route add default via 192.168.10.1")
    return RouterSite(gateway, host, journal)


def listen(host: Namespace, port: int) -> socket.socket:
    with inside(host):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("0.0.0.0", port))
        sock.settimeout(5)
        return sock


def arrives(sock: socket.socket, timeout_s: float) -> tuple[bytes, tuple[str, int]] | None:
    if not select.select([sock], [], [], timeout_s)[0]:
        return None
    data, source = sock.recvfrom(2048)
    return data, source
