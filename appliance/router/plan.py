"""From the netmap to a `RouterModel`: which prefixes go where (node-os spec 1.2, 2.1, 2.2, 2.3), pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_network

from appliance.router.model import ForeignMode, RouterModel
from appliance.types.addresses import (
    CGNAT_V4,
    DEFAULT_V4,
    DEFAULT_V6,
    SERVICE_V4,
    SERVICE_V6,
    ULA_V6,
    Address,
    AddrPort,
    Prefix,
    is_overlay,
    is_single,
)
from appliance.types.netmap import FilterRule, Node

MANY_PEERS = 10_000
_ONE_CGNAT = "one-cgnat?v="
_KEEP_CGNAT = "disable-linux-cgnat-drop-rule"


@dataclass(frozen=True, slots=True)
class RouterPreferences:
    """What the user decided. `exit_node` is the chosen node's stable id ("" = none), even if it is not there now."""

    accept_routes: bool = False
    advertised: tuple[Prefix, ...] = ()
    exit_node: str = ""
    exit_lan_access: bool = False
    shields_up: bool = False
    snat: bool = True
    stateful: bool = False
    foreign: ForeignMode = ForeignMode.DETECT
    interface: str = "waypost0"
    mtu: int = 1280


def plan(
    own: Node,
    peers: Iterable[Node],
    rules: tuple[FilterRule, ...],
    preferences: RouterPreferences,
    *,
    host_addresses: tuple[IPv4Interface | IPv6Interface, ...] = (),
    wireguard_port: int = 0,
    peerapi: tuple[AddrPort, ...] = (),
) -> RouterModel:
    """The model for one state of the netmap. `host_addresses` are those of the other interfaces."""
    usable = [peer for peer in peers if is_usable(peer)]
    lans = connected(host_addresses)
    routes = _routes(own, usable, preferences, lans)
    local = [lan for lan in lans if _thrown(lan, routes, preferences)]
    return RouterModel(
        interface=preferences.interface,
        mtu=preferences.mtu,
        addresses=own.addresses,
        routes=tuple(prefix for prefix in routes if prefix not in local),
        local_routes=tuple(local),
        advertised=preferences.advertised,
        host_addresses=host_addresses,
        rules=rules,
        cap_sources=_cap_sources(rules, usable),
        jailed=tuple(prefix for peer in usable if peer.jailed for prefix in peer.allowed_ips if prefix.prefixlen),
        peerapi=peerapi,
        shields_up=preferences.shields_up,
        snat=preferences.snat,
        stateful=preferences.stateful,
        drop_cgnat=_KEEP_CGNAT not in own.cap_map,
        wireguard_port=wireguard_port,
        foreign=preferences.foreign,
    )


def is_usable(peer: Node) -> bool:
    """Packets can reach it: not expired, and it has a disco key or needs none."""
    return not peer.expired and (peer.disco_key is not None or peer.wireguard_only)


def is_own_prefix(peer: Node, prefix: Prefix) -> bool:
    """An address of the peer itself; everything else in its allowed IPs is advertised."""
    return prefix in peer.addresses or (is_single(prefix) and is_overlay(prefix.network_address))


def accepted_routes(peers: Iterable[Node]) -> tuple[Prefix, ...]:
    """Subnets that usable peers route for us, sorted, without exits."""
    found = {
        prefix
        for peer in peers
        if is_usable(peer)
        for prefix in peer.allowed_ips
        if prefix.prefixlen and not is_own_prefix(peer, prefix)
    }
    return tuple(sorted(found, key=_order))


def connected(host_addresses: Iterable[IPv4Interface | IPv6Interface]) -> tuple[Prefix, ...]:
    """LAN prefixes of the host's other interfaces: no single addresses, no link-local, no overlay."""
    found = {
        item.network
        for item in host_addresses
        if not is_single(item.network) and not item.ip.is_link_local and item.network not in (CGNAT_V4, ULA_V6)
    }
    return tuple(sorted(found, key=_order))


def _order(prefix: Prefix) -> tuple[int, int, int]:
    return prefix.version, int(prefix.network_address), prefix.prefixlen


def _routes(own: Node, peers: list[Node], preferences: RouterPreferences, lans: tuple[Prefix, ...]) -> list[Prefix]:
    found: dict[Prefix, None] = {}
    families = {prefix.version for prefix in own.addresses}
    addresses = {prefix for peer in peers for prefix in peer.allowed_ips if is_own_prefix(peer, prefix)}
    v4 = sorted((prefix for prefix in addresses if prefix.version == 4), key=_order)
    if 4 in families:
        found |= dict.fromkeys([CGNAT_V4] if _collapse(own, len(v4)) else [*v4, ip_network(SERVICE_V4)])
    if 6 in families:
        found |= dict.fromkeys([ULA_V6, ip_network(SERVICE_V6)])
    if preferences.accept_routes:
        mine = frozenset(preferences.advertised)
        found |= dict.fromkeys(prefix for prefix in accepted_routes(peers) if prefix not in mine)
    if preferences.exit_node:
        found |= dict.fromkeys([DEFAULT_V4, DEFAULT_V6])
        if not preferences.exit_lan_access:
            found |= dict.fromkeys(lans)  # nothing may leave beside the exit (node-os spec 2.3)
    return list(found)


def _collapse(own: Node, count: int) -> bool:
    if _ONE_CGNAT + "false" in own.cap_map:
        return False
    return count > MANY_PEERS or _ONE_CGNAT + "true" in own.cap_map


def _thrown(lan: Prefix, routes: list[Prefix], preferences: RouterPreferences) -> bool:
    """Whether a connected LAN must be kept out of the tunnel. Without LAN access an exit takes it in on purpose."""
    if preferences.exit_node:
        return preferences.exit_lan_access
    return any(route.version == lan.version and lan.subnet_of(route) for route in routes)  # type: ignore[arg-type]  # same version


def _cap_sources(rules: Iterable[FilterRule], nodes: Iterable[Node]) -> Mapping[str, tuple[Address, ...]]:
    names = {text[4:] for rule in rules for text in rule.src_ips if text.startswith("cap:")}
    if not names:
        return {}
    found: dict[str, list[Address]] = {name: [] for name in sorted(names)}
    for node in nodes:
        for name in names.intersection(node.cap_map):
            found[name] += [prefix.network_address for prefix in node.addresses]
    return {name: tuple(addresses) for name, addresses in found.items()}
