"""The lab's networks: an Internet, sites behind NAT boxes of each kind, LAN hosts.

                      internet (bridge, 203.0.113.0/24, 2001:db8::/64)
                     /             |               \\
              203.0.113.1    203.0.113.10      203.0.113.20
                control         nat-a              nat-b          NAT kind per site
                                 | 192.168.10.1      | 192.168.20.1
                            LAN A (bridge)       LAN B (bridge)
                             /        \\            /        \\
                     gateway-a      host-a   gateway-b     host-b
                   192.168.10.2  192.168.10.10   .20.2      .20.10

A site of kind NONE has its gateway on the Internet directly (and a LAN behind it). An IPv6-only site has no IPv4 on
its LAN side and is routed, not translated.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.lab.namespaces import Lab, Namespace


class NatKind(StrEnum):
    """NAT boxes in the words of RFC 4787."""

    NONE = "none"
    EASY = "easy"
    """Port-preserving masquerade: endpoint-independent mapping while ports are free, address-and-port filtering."""
    SYMMETRIC = "symmetric"
    """Another random port for each destination."""
    COUNTING = "counting"
    """The next port for each destination, one after the other."""
    BLOCK = "block"
    """A random port of 512 for each destination."""
    UDP_BLOCKED = "udp-blocked"
    """Masquerade for TCP; UDP to the Internet is dropped."""
    IPV6_ONLY = "ipv6-only"
    """No IPv4 at all; global IPv6, stateful firewall that lets replies in."""


COUNTED = range(20000, 24096)
_NEXT_PORT = ", ".join(f"{number} : {port}" for number, port in enumerate(COUNTED))
MASQUERADE = {
    NatKind.EASY: "masquerade",
    NatKind.SYMMETRIC: "masquerade random,fully-random",
    NatKind.COUNTING: f"""meta l4proto udp masquerade to :numgen inc mod {len(COUNTED)} map {{ {_NEXT_PORT} }}
            oifname "wan" masquerade""",
    NatKind.BLOCK: """meta l4proto udp masquerade to :50000-50511 random,fully-random
            oifname "wan" masquerade""",
    NatKind.UDP_BLOCKED: "masquerade",
}

INTERNET_V4 = "203.0.113"
INTERNET_V6 = "2001:db8:0:0"
CONTROL_IP = f"{INTERNET_V4}.1"


class Internet:
    """One switch that every public host hangs on."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.core = lab.namespace("internet")
        self.core.ip("link add br0 type bridge")
        self.core.ip("link set br0 up")
        self._ports = 0

    def attach(self, host: Namespace, interface: str, number: int) -> str:
        """Plug a host in with address 203.0.113.<number> and 2001:db8::<number>; the IPv4 address."""
        self._ports += 1
        port = f"p{self._ports}"
        self.lab.cable(self.core, port, host, interface)
        self.core.ip(f"link set {port} master br0")
        host.ip(f"addr add {INTERNET_V4}.{number}/24 dev {interface}")
        host.ip(f"addr add {INTERNET_V6}::{number}/64 dev {interface} nodad")
        return f"{INTERNET_V4}.{number}"

    def server(self, name: str, number: int) -> Namespace:
        """A public host."""
        host = self.lab.namespace(name)
        self.attach(host, "eth0", number)
        return host


@dataclass
class Site:
    """A LAN with a gateway and a host behind a NAT box. `index` names its networks: 192.168.<index>.0/24."""

    name: str
    index: int
    kind: NatKind
    router: Namespace
    gateway: Namespace
    host: Namespace

    @property
    def lan(self) -> str:
        return f"192.168.{self.index}.0/24"

    @property
    def host_ip(self) -> str:
        return f"192.168.{self.index}.10"

    @property
    def gateway_ip(self) -> str:
        return f"192.168.{self.index}.2"

    def route_to(self, other: Site) -> None:
        """Tell this site's host that the other LAN is behind its gateway, as a DHCP option would."""
        self.host.ip(f"route add {other.lan} via {self.gateway_ip}")

    def set_udp(self, blocked: bool) -> None:
        """Block or open UDP between the site and the Internet while it runs."""
        self.router.nft("add table inet udpwall; delete table inet udpwall")
        if blocked:
            self.router.nft("""table inet udpwall {
                chain forward {
                    type filter hook forward priority -10; policy accept;
                    meta l4proto udp drop
                }
            }""")


def site(internet: Internet, name: str, index: int, kind: NatKind) -> Site:
    """Build a site; the NAT box gets the public address 203.0.113.<index>."""
    lab = internet.lab
    router, gateway, host = (lab.namespace(f"{part}-{name}") for part in ("nat", "gateway", "host"))
    router.ip("link add lan type bridge")
    router.ip("link set lan up")
    for number, member in enumerate((gateway, host)):
        lab.cable(router, f"lan{number}", member, "eth0")
        router.ip(f"link set lan{number} master lan")
    internet.attach(router, "wan", index)
    _addresses(router, gateway, host, index, kind)
    router.nft(box_rules(kind))
    return Site(name, index, kind, router, gateway, host)


def _addresses(router: Namespace, gateway: Namespace, host: Namespace, index: int, kind: NatKind) -> None:
    lan6 = f"2001:db8:{index}"
    if kind is not NatKind.IPV6_ONLY:
        router.sysctl("net.ipv4.ip_forward", 1)
        router.ip(f"addr add 192.168.{index}.1/24 dev lan")
        gateway.ip(f"addr add 192.168.{index}.2/24 dev eth0")
        gateway.ip(f"route add default via 192.168.{index}.1")
    else:
        # The LAN behind the gateway keeps its private IPv4; only the way out is IPv6.
        gateway.ip(f"addr add 192.168.{index}.2/24 dev eth0")
        router.sysctl("net.ipv6.conf.all.forwarding", 1)
        router.ip(f"addr add {lan6}::1/64 dev lan nodad")
        gateway.ip(f"addr add {lan6}::2/64 dev eth0 nodad")
        gateway.ip(f"route add default via {lan6}::1")
    host.ip(f"addr add 192.168.{index}.10/24 dev eth0")


def box_rules(kind: NatKind) -> str:
    """nftables of a NAT box between its interfaces `lan` and `wan`."""
    if kind is NatKind.NONE:
        return "table inet box { }"
    if kind is NatKind.IPV6_ONLY:
        return """table inet box {
            chain forward {
                type filter hook forward priority 0; policy drop;
                ct state established,related accept
                iifname "lan" accept
            }
        }"""
    block = 'iifname "lan" oifname "wan" meta l4proto udp drop' if kind is NatKind.UDP_BLOCKED else ""
    # Packets that nobody asked for are dropped before conntrack keeps them: a kept one would take the port that the
    # peer behind us is about to use, and a refusal would end the other side's hole punching.
    return f"""table inet box {{
        chain forward {{
            type filter hook forward priority 0; policy accept;
            {block}
            iifname "wan" ct state new drop
        }}
        chain input {{
            type filter hook input priority 0; policy accept;
            iifname "wan" ct state new meta l4proto udp drop
        }}
        chain nat {{
            type nat hook postrouting priority 100;
            oifname "wan" {MASQUERADE[kind]}
        }}
    }}"""


def route_ipv6_site(internet_host: Namespace, target: Site) -> None:
    """Let a public host reach the routed IPv6 prefix of an IPv6-only site."""
    internet_host.ip(f"route add 2001:db8:{target.index}::/48 via {INTERNET_V6}::{target.index}")
