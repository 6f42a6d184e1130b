"""Looks at a gateway's network, pure: facts in, findings out.

What could not be found out is skipped, never guessed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network

from appliance.types.addresses import CGNAT_V4
from appliance.types.findings import FAILED, OK, SKIPPED, WARNING, Finding

EXPIRY_WARNING = timedelta(days=14)
MIN_UPLINK_MTU = 1380
"""The tunnel's 1280 bytes with the heaviest wrapping that we send: IPv6, UDP, relay header, WireGuard."""
_SYSCTL = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}
SHOWN = 4


@dataclass(frozen=True, slots=True)
class DnsFacts:
    """The gateway's own resolver. `listening`: where it answers; `refused`: where it cannot, with the reason;
    `upstreams`: by name what is wrong with it, "" nothing; `looping`: those whose questions come back here; `answers`:
    whether it knew this node's own name just now; `host_error`: why the host's programs do not ask it."""

    listening: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    upstreams: Mapping[str, str] = field(default_factory=dict)
    looping: tuple[str, ...] = ()
    answers: bool | None = None
    host_error: str = ""


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """`forwards`: IP versions that must be forwarded. `strict`: uplinks with a strict reverse-path filter that does not
    honour marks, while the tunnel serves the Internet. `large_packets`: by peer, whether large packets pass where small
    ones do. `router_address`: what the site's router says is its outside address; `seen_address`: ours as seen from
    outside. `refused`: routes of peers with the reason why they are not used."""

    forwards: frozenset[int] = frozenset()
    forwarding: Mapping[int, bool | None] = field(default_factory=dict)
    strict: tuple[str, ...] = ()
    uplink_mtus: Mapping[str, int] = field(default_factory=dict)
    large_packets: Mapping[str, bool] = field(default_factory=dict)
    udp: bool | None = None
    router_address: str = ""
    seen_address: str = ""
    mapping_varies: bool | None = None
    attached: tuple[tuple[str, str], ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    advertised: tuple[str, ...] = ()
    approved: Collection[str] | None = None
    key_expiry: datetime | None = None
    connected: bool = False
    control_error: str = ""
    relay: str = ""
    dns: DnsFacts | None = None
    """None: no resolver runs here."""


def control(facts: NetworkFacts) -> Finding:
    if facts.connected:
        return Finding("control", OK, "connected to the control server")
    mend = "look at the name, the firewall and the proxy toward it; see waypost status"
    return Finding("control", FAILED, facts.control_error or "not connected to the control server", mend)


def relay(facts: NetworkFacts) -> Finding:
    if facts.relay:
        return Finding("relay", OK, f"connected to the relay {facts.relay}")
    return Finding("relay", FAILED, "connected to no relay", "open TCP 443 toward the relays; see waypost netcheck")


def udp(facts: NetworkFacts) -> Finding:
    if facts.udp is None:
        return Finding("udp", SKIPPED, "not measured yet")
    if not facts.udp:
        mend = "let UDP out in the site's firewall: ports 3478 (STUN) and 41641 and above"
        return Finding("udp", WARNING, "no UDP reaches the Internet; every path goes through relays", mend)
    return Finding("udp", OK, "UDP reaches the Internet")


def nat(facts: NetworkFacts) -> Finding:
    """Two NAT boxes in a row: no port mapping reaches the outside."""
    outside = facts.router_address
    if outside and (ip_address(outside).is_private or _in_cgnat(outside) or facts.seen_address not in ("", outside)):
        mend = "set the outer box to bridge mode or forward UDP to the inner one; paths may stay on relays"
        seen = f", the Internet sees {facts.seen_address}" if facts.seen_address else ""
        return Finding("nat", WARNING, f"double NAT: the router's outside address is {outside}{seen}", mend)
    if facts.mapping_varies:
        mend = "turn port mapping (UPnP, NAT-PMP, PCP) on in the router, or forward the gateway's UDP port"
        return Finding("nat", WARNING, "the NAT gives each peer another port; direct paths are harder", mend)
    if facts.mapping_varies is None and not outside:
        return Finding("nat", SKIPPED, "not measured yet")
    return Finding("nat", OK, "one NAT at most, and it keeps its ports")


def mtu(facts: NetworkFacts) -> Finding:
    lost = [peer for peer, passes in facts.large_packets.items() if not passes]
    if lost:
        mend = "let ICMP 'fragmentation needed' and 'packet too big' pass on the way, or lower the site's MTU"
        return Finding("mtu", FAILED, f"large packets vanish on the way to {_listed(lost)}, small ones pass", mend)
    small = [f"{name} ({size})" for name, size in facts.uplink_mtus.items() if size < MIN_UPLINK_MTU]
    if small:
        mend = f"raise the MTU of the uplink to {MIN_UPLINK_MTU} or more, or the tunnel's packets are fragmented"
        return Finding("mtu", WARNING, f"small MTU on {_listed(small)}", mend)
    if facts.large_packets:
        return Finding("mtu", OK, f"large packets pass to {_listed(list(facts.large_packets))}")
    return Finding("mtu", OK, "the uplinks take the tunnel's packets whole; no peer to measure with")


def forwarding(facts: NetworkFacts) -> Finding:
    off = [_SYSCTL[version] for version in sorted(facts.forwards) if facts.forwarding.get(version) is False]
    if off:
        mend = f"sysctl -w {' '.join(f'{name}=1' for name in off)}, and keep it in /etc/sysctl.d"
        return Finding("forwarding", FAILED, f"packets of others are not forwarded: {', '.join(off)} is 0", mend)
    if not facts.forwards:
        return Finding("forwarding", SKIPPED, "this gateway forwards for nobody")
    return Finding("forwarding", OK, "the kernel forwards packets")


def rp_filter(facts: NetworkFacts) -> Finding:
    if facts.strict:
        names = _listed(list(facts.strict))
        settings = " ".join(f"net.ipv4.conf.{name}.rp_filter=2" for name in facts.strict[:SHOWN])
        text = f"a strict reverse-path filter on {names} drops the answers to the tunnel's own packets"
        return Finding("rp-filter", FAILED, text, f"sysctl -w {settings}, and keep it in /etc/sysctl.d")
    return Finding("rp-filter", OK, "no reverse-path filter is in the way")


def overlaps(facts: NetworkFacts) -> Finding:
    """Attached networks inside each other, and peers' routes that were refused for one of them."""
    if facts.refused:
        texts = [f"{prefix}: {reason}" for prefix, reason in facts.refused.items()]
        mend = "give the sites different networks, or stop offering that route there"
        return Finding("overlaps", WARNING, f"routes of peers are not used: {_listed(texts)}", mend)
    networks = [(ip_network(prefix), name) for prefix, name in facts.attached]
    pairs = [
        f"{one} on {first} and {other} on {second}"
        for at, (one, first) in enumerate(networks)
        for other, second in networks[at + 1 :]
        if first != second and one.overlaps(other)
    ]
    if pairs:
        mend = "give the interfaces different networks"
        return Finding("overlaps", WARNING, f"attached networks overlap: {_listed(pairs)}", mend)
    return Finding("overlaps", OK, "no networks overlap")


def dns(facts: NetworkFacts) -> Finding:
    found = facts.dns
    if found is None:
        return Finding("dns", SKIPPED, "no resolver runs here; see: waypost plugins list")
    if found.looping:
        text = f"DNS loop: questions to {_listed(found.looping)} come back to this gateway"
        return Finding("dns", FAILED, text, "give that resolver another upstream than this gateway")
    if found.refused:
        text = f"the resolver cannot listen: {_listed([f'{at}: {why}' for at, why in found.refused.items()])}"
        return Finding("dns", FAILED, text, "end the program that has the port; see: waypost dns status")
    if found.answers is False:
        mend = "is 100.100.100.100 closed by another firewall? see: waypost dns status"
        return Finding("dns", FAILED, "the resolver does not answer with this node's own name", mend)
    broken = [f"{name} ({error})" for name, error in found.upstreams.items() if error]
    if broken and len(broken) == len(found.upstreams):
        mend = "check the way to the Internet, or set plugins.magicdns.upstreams"
        return Finding("dns", FAILED, f"no resolver answers: {_listed(broken)}", mend)
    if broken:
        mend = "look at that resolver, or take it out: waypost dns status"
        return Finding("dns", WARNING, f"some resolvers do not answer: {_listed(broken)}", mend)
    if found.host_error:
        mend = "set plugins.magicdns.os to another way, or to off"
        return Finding("dns", WARNING, f"this host's programs do not ask here: {found.host_error}", mend)
    return Finding("dns", OK, "names are answered, and no question comes back")


def approvals(facts: NetworkFacts) -> Finding:
    if facts.approved is None:
        return Finding("approvals", SKIPPED, "no netmap yet")
    waiting = [route for route in facts.advertised if route not in facts.approved]
    if waiting:
        mend = "waypost-control routes approve NODE, or name them in the policy's autoApprovers"
        return Finding("approvals", WARNING, f"offered routes wait for approval: {_listed(waiting)}", mend)
    return Finding("approvals", OK, "everything that is offered is approved")


def key(facts: NetworkFacts, wall_now: datetime) -> Finding:
    if facts.key_expiry is None:
        return Finding("key", OK, "the node key does not expire")
    left = facts.key_expiry - wall_now
    mend = "run: waypost login"
    if left <= timedelta(0):
        return Finding("key", FAILED, f"the node key expired on {facts.key_expiry:%Y-%m-%d}", mend)
    if left < EXPIRY_WARNING:
        return Finding("key", WARNING, f"the node key expires in {max(left.days, 0)} days", mend)
    return Finding("key", OK, f"the node key holds until {facts.key_expiry:%Y-%m-%d}")


def firewall(drops: Collection[str]) -> Finding:
    """`drops` are chains of other firewalls that drop what comes through the tunnel."""
    if drops:
        mend = 'let the tunnel pass there, or set router.foreign = "open"'
        return Finding("firewall", WARNING, f"another firewall drops tunnel traffic: {_listed(drops)}", mend)
    return Finding("firewall", OK, "no other firewall drops tunnel traffic")


def _in_cgnat(text: str) -> bool:
    address = ip_address(text)
    return address in CGNAT_V4


def _listed(texts: Collection[str]) -> str:
    shown = list(texts)[:SHOWN]
    return ", ".join(shown) + (f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else "")
