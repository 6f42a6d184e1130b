"""Random rule sets and packets, and what they come to by a naive reading of the node-os spec 1.4, word by word.

It shares nothing with the compiler: no intervals, no classes, rule by rule.
"""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

from appliance.router.explain import Packet
from appliance.router.model import RouterModel
from appliance.types.addresses import Address, AddrPort
from appliance.types.netmap import FilterRule, PortRange
from tests.lab.raw_packets import ICMP, ICMPV6, TCP, UDP, echo_request, ip_packet, tcp, udp

SCTP, TSMP = 132, 99
OWN = ("100.64.0.1", "fd7a:115c:a1e0::1")
SOURCES = [f"100.64.0.{i}" for i in range(2, 12)] + [f"fd7a:115c:a1e0::{i:x}" for i in range(2, 12)]
TARGETS = [*OWN, *(f"10.0.0.{i}" for i in range(6)), *(f"fd20::{i}" for i in range(6)), "10.9.0.1", "fd29::1"]
FAR = [
    *("8.8.8.8", "198.51.100.7", "192.168.77.1", "192.168.78.1", "203.0.113.2", "203.0.113.9", "172.16.0.1"),
    *("169.254.1.1", "100.99.0.1", "224.0.0.5", "2001:4860::8", "2001:db8:1::2", "2001:db8:1::9", "fe80::9", "ff02::5"),
]
"""Of an exit: on the Internet, in LANs of the host, the host's own public addresses, and what may never pass."""
SOURCE_TEXTS = ["*", "100.64.0.0/29", "100.64.0.4-100.64.0.9", "fd7a:115c:a1e0::/125", "cap:a", *SOURCES]
TARGET_TEXTS = ["*", "*", "10.0.0.0/30", "10.0.0.2-10.0.0.4", "fd20::/126", "fd20::2-fd20::4", "8.0.0.0/7", *TARGETS]
PORTS = [0, 1, 22, 80, 443, 65535]
FILTER = RouterModel(
    addresses=tuple(ip_network(text) for text in OWN),
    routes=(ip_network("100.64.0.0/24"), ip_network("fd7a:115c:a1e0::/48")),
    advertised=(ip_network("10.0.0.0/24"), ip_network("fd20::/64")),
    host_addresses=tuple(
        map(ip_interface, ("192.168.77.5/24", "203.0.113.2/24", "2001:db8:1::2/64", "100.64.0.1/32", "127.0.0.1/8"))
    ),
    cap_sources={"a": (ip_address("100.64.0.11"), ip_address("fd7a:115c:a1e0::b"))},
    jailed=(ip_network("100.64.0.5/32"), ip_network("fd7a:115c:a1e0::5/128")),
    peerapi=(AddrPort("100.64.0.1", 443), AddrPort("fd7a:115c:a1e0::1", 443)),
)
_NOT_PUBLIC = (
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "224.0.0.0/4", "100.64.0.0/10"),
    *("fe80::/10", "ff00::/8", "fd7a:115c:a1e0::/48"),
)
_NEVER = ("169.254.0.0/16", "224.0.0.0/4", "fe80::/10", "ff00::/8")


def random_rules(chance: random.Random, most: int = 40) -> tuple[FilterRule, ...]:
    def ports() -> tuple[int, int]:
        first, last = sorted(chance.choices(PORTS, k=2))
        return chance.choice([(first, last), (0, 65535)])

    return tuple(
        FilterRule(
            tuple(chance.choices(SOURCE_TEXTS, k=chance.randint(1, 3))),
            tuple(PortRange(chance.choice(TARGET_TEXTS), *ports()) for _ in range(chance.randint(1, 3))),
            tuple(chance.choices([1, 6, 17, 47, 58, 132], k=chance.choice([0, 0, 1, 2]))),
        )
        for _ in range(chance.choice([0, 1, 3, 10, most]))
    )


def random_model(chance: random.Random, most: int = 40) -> RouterModel:
    """Rules, and now and then shields up or an exit."""
    exits = (ip_network("0.0.0.0/0"), ip_network("::/0")) if chance.random() < 0.4 else ()
    return replace(
        FILTER,
        rules=random_rules(chance, most),
        shields_up=chance.random() < 0.1,
        advertised=(*FILTER.advertised, *exits),
    )


def random_packet(chance: random.Random) -> Packet:
    source = ip_address(chance.choice(SOURCES))
    targets = [text for text in (*TARGETS, *TARGETS, *FAR) if ip_address(text).version == source.version]
    icmp = ICMP if source.version == 4 else ICMPV6
    protocol = chance.choice([TCP, TCP, UDP, icmp, 47, TSMP, SCTP])
    port = chance.choice(PORTS[1:]) + chance.choice([0, 0, 1]) if protocol in (TCP, UDP, SCTP) else 0
    kind = 8 if icmp == ICMP else 128
    return Packet(source, ip_address(chance.choice(targets)), protocol, min(port, 65535), kind)


def naive(model: RouterModel, packet: Packet) -> bool:
    """Whether the first packet of a flow passes."""
    source, target = packet.source, packet.destination
    if not _is_local(model, target):
        return False
    if packet.protocol == TSMP:
        return True
    if packet.protocol == TCP and any((str(target), packet.port) == (api.ip, api.port) for api in model.peerapi):
        return True
    if model.shields_up or any(source in prefix for prefix in model.jailed):
        return False
    return any(_opens(model, rule, packet) for rule in model.rules)


def _is_local(model: RouterModel, target: Address) -> bool:
    """Steps 1 and 2: what may be reached at all."""
    if any(target in ip_network(text) for text in _NEVER) and str(target) != "169.254.169.254":
        return False
    if target in [prefix.network_address for prefix in model.addresses]:
        return True
    if any(target in prefix for prefix in model.advertised if prefix.prefixlen):
        return True
    if not any(prefix.prefixlen == 0 and prefix.version == target.version for prefix in model.advertised):
        return False
    if any(target in ip_network(text) for text in _NOT_PUBLIC):
        return False
    if target in [item.ip for item in model.host_addresses]:
        return True
    return not any(target in item.network for item in model.host_addresses if item.network.num_addresses > 1)


def _opens(model: RouterModel, rule: FilterRule, packet: Packet) -> bool:
    if not any(_matches(model, text, packet.source) for text in rule.src_ips):
        return False
    own_icmp = ICMP if packet.source.version == 4 else ICMPV6
    for entry in rule.dst_ports:
        if not _matches(model, entry.ip, packet.destination):
            continue
        if packet.protocol == own_icmp:
            return True
        if packet.protocol not in (rule.ip_protos or (6, 17, 1, 58)) or packet.protocol in (ICMP, ICMPV6):
            continue
        if packet.protocol in (TCP, UDP, SCTP):
            if entry.first <= packet.port <= entry.last:
                return True
        elif (entry.first, entry.last) == (0, 65535):
            return True
    return False


def _matches(model: RouterModel, text: str, address: Address) -> bool:
    if text == "*":
        return True
    if text.startswith("cap:"):
        return address in model.cap_sources[text[4:]]
    if "-" in text:
        low, high = map(ip_address, text.split("-"))
        return low.version == address.version and int(low) <= int(address) <= int(high)
    return address in ip_network(text)


def made(packet: Packet, number: int) -> bytes:
    """Its bytes. Every packet opens a flow of its own: `number` is also its source port."""
    source, target = str(packet.source), str(packet.destination)
    if packet.protocol == TCP:
        return tcp(source, target, number, packet.port, number=number)
    if packet.protocol == UDP:
        return udp(source, target, number, packet.port, number=number)
    if packet.protocol in (ICMP, ICMPV6):
        return echo_request(source, target, number, number=number)
    ports = number.to_bytes(2, "big") + packet.port.to_bytes(2, "big")
    return ip_packet(source, target, packet.protocol, ports + bytes(16), number)
