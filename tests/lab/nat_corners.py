"""Gateways behind every kind of NAT in one lab, two of each, with control, DERP and a peer relay in public.

                                internet (203.0.113.0/24, 2001:db8::/64)
       |          |               |                |                     |                 |
    control     relay           nat-NAME       nat-NAME-out          nat-carrier       (IPv6 router)
  DERP  .1       .30               |                |                 |       |              |
                               gateway-NAME      nat-NAME        nat-NAME  nat-OTHER     gateway-NAME
                                                    |                |        |
                                               gateway-NAME    gateway-NAME gateway-OTHER

Each gateway has a LAN of its own and a WireGuard port of its own, since the carriers' customers share a NAT.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from tests.lab.mesh import CONTROL_PORT, CONTROL_URL, ControlServer, Gateway
from tests.lab.miniupnpd import PortMappingRouter, knows_outside
from tests.lab.topology import CONTROL_IP, INTERNET_V6, Internet, NatKind, Site, box_rules

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.namespaces import Lab, Namespace
    from tests.lab.processes import Process

V6_URL = f"http://[{INTERNET_V6}::1]:{CONTROL_PORT}"
EVERYBODY = {"action": "accept", "src": ["*"], "dst": ["*:*"]}
RELAY_GRANT = {"src": ["demo@"], "dst": ["relay@"], "app": {"tailscale.com/cap/relay": []}}
SESSIONS = 128
"""UDP sessions that a carrier gives all its customers together."""
TALK = """
import contextlib, socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print("talking", flush=True)
while True:
    for address in sys.argv[1:]:
        with contextlib.suppress(OSError):
            sock.sendto(b"hello", (address, 9))
    time.sleep(0.2)
"""
"""A packet to each address five times a second; who answers that the port is closed keeps the way back busy too."""


class Corner(StrEnum):
    """Where a gateway stands, the easiest first."""

    NONE = "none"
    EASY = "easy"
    DOUBLE = "double"
    MAPPED = "mapped"
    HAIRPIN = "hairpin"
    CGNAT = "cgnat"
    SYMMETRIC = "symmetric"
    IPV6_ONLY = "ipv6-only"
    UDP_BLOCKED = "udp-blocked"


_OWN_BOX = {
    Corner.EASY: NatKind.EASY,
    Corner.SYMMETRIC: NatKind.SYMMETRIC,
    Corner.UDP_BLOCKED: NatKind.UDP_BLOCKED,
    Corner.MAPPED: NatKind.SYMMETRIC,
}


def carrier_rules(address: str, customers: dict[str, int], *, hairpin: bool) -> str:
    """A NAT for many with a cap of sessions. `customers`: their gateways' ports by address, for the way round."""
    loops = [f'iifname "lan" ip daddr {address} udp dport {port} dnat to {ip}' for ip, port in customers.items()]
    return f"""table inet box {{
        set sessions {{
            type ipv4_addr . inet_service . ipv4_addr . inet_service
            flags dynamic,timeout; timeout 60s; size {SESSIONS}
        }}
        chain forward {{
            type filter hook forward priority 0; policy accept;
            iifname "wan" ct state new drop
            iifname "lan" udp dport != 53 update @sessions {{ ip saddr . udp sport . ip daddr . udp dport }} accept
            iifname "lan" meta l4proto udp drop
        }}
        chain input {{
            type filter hook input priority 0; policy accept;
            meta l4proto udp ct state new drop
        }}
        chain loops {{
            type nat hook prerouting priority -100;
            {"; ".join(loops) if hairpin else ""}
        }}
        chain nat {{
            type nat hook postrouting priority 100;
            oifname "wan" masquerade
            oifname "lan" ip saddr 10.0.0.0/8 ip daddr 10.0.0.0/8 snat to {address}
        }}
    }}"""


@dataclass
class Corners:
    """`add` gateways, then `talk` from one to the others. Numbers run from 40 on, one per gateway."""

    lab: Lab
    directory: Path
    gateways: dict[str, Gateway] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, Corner] = field(default_factory=dict)
    _carriers: dict[Corner, Namespace] = field(default_factory=dict)
    _customers: dict[Corner, dict[str, int]] = field(default_factory=dict)
    _number: int = 40

    def __post_init__(self) -> None:
        self.internet = Internet(self.lab)
        options = ("--listen", f"[::]:{CONTROL_PORT}", "--derp-host", f"{CONTROL_IP},{INTERNET_V6}::1")
        host = self.internet.server("control", 1)
        host.ip(f"route add 2001:db8::/32 via {INTERNET_V6}::ffff")
        self.control = ControlServer(host, self.directory / "control", options)
        self.control.start()
        self._v6_router()
        self._grant()
        self._relay()

    def _v6_router(self) -> None:
        """Where everybody in public sends IPv6 of the sites."""
        self.core6 = self.lab.namespace("core6")
        self.internet.attach(self.core6, "wan", 250)
        self.core6.ip(f"addr add {INTERNET_V6}::ffff/64 dev wan nodad")
        self.core6.sysctl("net.ipv6.conf.all.forwarding", 1)

    def _grant(self) -> None:
        for user in ("demo", "relay"):
            self.control.json("users", "create", user)
        policy = self.directory / "policy.hujson"
        policy.write_text(json.dumps({"acls": [EVERYBODY], "grants": [RELAY_GRANT]}))
        result = self.control.run("policy", "set", str(policy))
        assert result.code == 0, result.stderr

    def _relay(self) -> None:
        host = self.internet.server("relay", 30)
        host.ip(f"route add 2001:db8::/32 via {INTERNET_V6}::ffff")
        self.relay = Gateway(host, self.directory / "relay")
        self.relay.start()
        self.relay.up(self.control.pre_auth_key("relay"), "--hostname", "relay")
        self.relay.must("plugins", "enable", "peer_relay")
        knows_outside(self.internet.core, self.control.host, host)

    def add(self, kind: Corner) -> str:
        """One more gateway, joined; its name."""
        self._number += 1
        number = self._number
        name = f"{kind}-{number}"
        gateway = Gateway(self._host(kind, name, number), self.directory / name)
        config = self.directory / f"{name}.toml"
        mapping = "auto" if kind is Corner.MAPPED else "off"
        config.write_text(f'[tunnel]\nport = {41000 + number}\n[paths]\nport_mapping = "{mapping}"\n')
        gateway.options = ("--config", str(config))
        gateway.url = V6_URL if kind is Corner.IPV6_ONLY else CONTROL_URL
        gateway.start()
        gateway.up(self.control.pre_auth_key("demo"), "--hostname", name)
        self.gateways[name], self.kinds[name] = gateway, kind
        self.addresses[name] = next(ip for ip in gateway.status()["self_node"]["addresses"] if ":" not in ip)
        return name

    def talk(self, name: str) -> Process:
        """From now on this gateway sends to all others."""
        others = [address.partition("/")[0] for other, address in self.addresses.items() if other != name]
        process = self.gateways[name].host.start("talk", sys.executable, "-u", "-c", TALK, *others)
        process.wait_for_output("talking")
        return process

    def kinds_of_paths(self, name: str) -> dict[str, str]:
        """Path kind from this gateway to each other, by name."""
        peers = self.gateways[name].status()["peers"]
        return {peer["name"].partition(".")[0]: str(peer["path"]["kind"]) for peer in peers}

    # Networks

    def _host(self, kind: Corner, name: str, number: int) -> Namespace:
        if kind is Corner.NONE:
            host = self.internet.server(name, number)
            host.ip(f"route add 2001:db8::/32 via {INTERNET_V6}::ffff")
            knows_outside(host)
            return host
        if kind is Corner.IPV6_ONLY:
            return self._routed(name, number)
        box = self.lab.namespace(f"nat-{name}")
        box.sysctl("net.ipv4.ip_forward", 1)
        if kind is Corner.DOUBLE:
            self._behind_another(box, name, number)
        elif kind in (Corner.CGNAT, Corner.HAIRPIN):
            self._behind_carrier(box, kind, number)
        else:
            self.internet.attach(box, "wan", number)
            knows_outside(box)
        host = self._lan(box, name, number)
        box.nft(box_rules(_OWN_BOX.get(kind, NatKind.EASY)))
        if kind is Corner.MAPPED:
            self._maps_ports(box, host, name, number)
        return host

    def _lan(self, box: Namespace, name: str, number: int) -> Namespace:
        host = self.lab.namespace(f"gateway-{name}")
        self.lab.cable(box, "lan", host, "eth0")
        box.ip(f"addr add 192.168.{number}.1/24 dev lan")
        host.ip(f"addr add 192.168.{number}.2/24 dev eth0")
        host.ip(f"route add default via 192.168.{number}.1")
        return host

    def _behind_another(self, box: Namespace, name: str, number: int) -> None:
        outer = self.lab.namespace(f"nat-{name}-out")
        outer.sysctl("net.ipv4.ip_forward", 1)
        self.internet.attach(outer, "wan", number)
        knows_outside(outer)
        self.lab.cable(outer, "lan", box, "wan")
        outer.ip(f"addr add 10.{number}.0.1/24 dev lan")
        box.ip(f"addr add 10.{number}.0.2/24 dev wan")
        box.ip(f"route add default via 10.{number}.0.1")
        outer.nft(box_rules(NatKind.EASY))

    def _behind_carrier(self, box: Namespace, kind: Corner, number: int) -> None:
        public = 201 if kind is Corner.CGNAT else 202
        carrier = self._carriers.get(kind)
        if carrier is None:
            carrier = self._carriers[kind] = self.lab.namespace(f"nat-carrier-{kind}")
            carrier.sysctl("net.ipv4.ip_forward", 1)
            self.internet.attach(carrier, "wan", public)
            knows_outside(carrier)
            carrier.ip("link add lan type bridge")
            carrier.ip("link set lan up")
            carrier.ip(f"addr add 10.{public}.0.1/24 dev lan")
        port = f"c{number}"
        self.lab.cable(carrier, port, box, "wan")
        carrier.ip(f"link set {port} master lan")
        box.ip(f"addr add 10.{public}.0.{number}/24 dev wan")
        box.ip(f"route add default via 10.{public}.0.1")
        customers = self._customers.setdefault(kind, {})
        customers[f"10.{public}.0.{number}"] = 41000 + number
        rules = carrier_rules(f"203.0.113.{public}", customers, hairpin=kind is Corner.HAIRPIN)
        carrier.nft(f"add table inet box; delete table inet box\n{rules}")

    def _routed(self, name: str, number: int) -> Namespace:
        """A router with a stateful firewall and no IPv4 toward its LAN."""
        router, host = self.lab.namespace(f"nat-{name}"), self.lab.namespace(f"gateway-{name}")
        self.internet.attach(router, "wan", number)
        router.sysctl("net.ipv6.conf.all.forwarding", 1)
        router.ip(f"route add 2001:db8::/32 via {INTERNET_V6}::ffff")
        self.core6.ip(f"route add 2001:db8:{number}::/48 via {INTERNET_V6}::{number}")
        self.lab.cable(router, "lan", host, "eth0")
        router.ip(f"addr add 2001:db8:{number}::1/64 dev lan nodad")
        host.ip(f"addr add 2001:db8:{number}::2/64 dev eth0 nodad")
        host.ip(f"route add default via 2001:db8:{number}::1")
        router.nft(box_rules(NatKind.IPV6_ONLY))
        return host

    def _maps_ports(self, box: Namespace, host: Namespace, name: str, number: int) -> None:
        place = Site(name, number, NatKind.SYMMETRIC, box, host, host)
        router = PortMappingRouter(place, self.directory / f"{name}-router", outside=f"192.0.1.{number}")
        router.prepare()
        router.start()
