"""Wire types to value types (`appliance.types.netmap`), checked and bounded; a bad entry drops only itself.

`node` raises `DecodeError` when the entry as a whole is unusable (no id, no name, no key); inside it a bad prefix or
endpoint is left out. Lists longer than their bound are cut: a hostile server may not fill memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from ipaddress import ip_address
from itertools import islice
from typing import Any, TypeVar

from appliance.proto.control import messages as wire
from appliance.types import netmap
from appliance.types.addresses import AddrPort, Prefix, parse_addr_port, parse_prefix
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.ids import MAX_ID, NodeId, RegionId, StableNodeId, UserId
from appliance.types.keys import DiscoPublicKey, MachinePublicKey, NodePublicKey, PublicKey
from appliance.types.location import Location

MAX_NAME = 255
MAX_PREFIXES = 10_000
MAX_ENDPOINTS = 128
MAX_TEXTS = 1024
MAX_FILTER_ENTRIES = 100_000
REMEMBERED = 32_768
"""Checked addresses kept from one packet filter to the next, which differ by little."""

_T = TypeVar("_T")
_S = TypeVar("_S")
_K = TypeVar("_K", bound=PublicKey)


def _good(parse: Callable[[_S], _T], entries: Iterable[_S], limit: int) -> tuple[_T, ...]:
    """What parses of the first `limit` entries."""
    result: list[_T] = []
    for entry in islice(entries, limit):
        try:
            result.append(parse(entry))
        except DecodeError:
            continue
    return tuple(result)


def _key(kind: type[_K], text: str) -> _K | None:
    """None for an absent or zero key. Raises `DecodeError` (BAD_KEY)."""
    if not text:
        return None
    key = kind.parse(text)
    return None if key.is_zero else key


def node_key(text: str) -> NodePublicKey:
    """A node key that is not zero. Raises `DecodeError` (BAD_KEY)."""
    key = _key(NodePublicKey, text)
    if key is None:
        raise DecodeError(DecodeReason.BAD_KEY, "no node key")
    return key


def disco_key(text: str) -> DiscoPublicKey | None:
    return _key(DiscoPublicKey, text)


def _time(text: str) -> datetime | None:
    try:
        return wire.parse_time(text)
    except DecodeError:
        return None


def _id(number: int) -> int:
    if not 0 < number <= MAX_ID:
        raise DecodeError(DecodeReason.BAD_VALUE, f"id {number}")
    return number


def prefixes(texts: Iterable[str]) -> tuple[Prefix, ...]:
    return _good(parse_prefix, texts, MAX_PREFIXES)


def endpoints(texts: Iterable[str]) -> tuple[AddrPort, ...]:
    return _good(parse_addr_port, texts, MAX_ENDPOINTS)


def typed_endpoints(texts: list[str], types: list[int]) -> tuple[tuple[AddrPort, ...], tuple[int, ...]]:
    """The parallel lists of a MapRequest, bad entries left out of both; a missing or unknown type is 0."""
    known = {kind.value for kind in netmap.EndpointType}
    padded = [*types, *([0] * len(texts))]
    found: list[tuple[AddrPort, int]] = []
    for text, kind in islice(zip(texts, padded, strict=False), MAX_ENDPOINTS):
        try:
            found.append((parse_addr_port(text), kind if kind in known else 0))
        except DecodeError:
            continue
    return tuple(one for one, _ in found), tuple(kind for _, kind in found)


def _cap_map(entries: wire.CapMap) -> Mapping[str, tuple[Any, ...]]:
    return {name: tuple(values or ()) for name, values in islice(entries.items(), MAX_TEXTS)}


def node(entry: wire.Node) -> netmap.Node:
    """Raises `DecodeError` when the id, name or key is unusable."""
    if not entry.name or len(entry.name) > MAX_NAME + 1:
        raise DecodeError(DecodeReason.BAD_VALUE, "node name")
    addresses = prefixes(entry.addresses)
    hostinfo = entry.hostinfo or wire.Hostinfo()
    services = islice(hostinfo.services, MAX_TEXTS)
    return netmap.Node(
        id=NodeId(_id(entry.id)),
        stable_id=StableNodeId(entry.stable_id[:MAX_NAME]),
        name=entry.name,
        key=node_key(entry.key),
        user=UserId(entry.user if 0 <= entry.user <= MAX_ID else 0),
        machine=_key(MachinePublicKey, entry.machine),
        disco_key=disco_key(entry.disco_key),
        addresses=addresses,
        allowed_ips=addresses if entry.allowed_ips is None else prefixes(entry.allowed_ips),
        primary_routes=prefixes(entry.primary_routes),
        endpoints=endpoints(entry.endpoints or ()),
        home_derp=RegionId(entry.home_derp if 0 <= entry.home_derp <= 65535 else 0),
        key_expiry=_time(entry.key_expiry),
        online=entry.online,
        last_seen=_time(entry.last_seen),
        capability_version=entry.cap,
        tags=tuple(entry.tags[:MAX_TEXTS]),
        cap_map=_cap_map(entry.cap_map),
        hostname=hostinfo.hostname[:MAX_NAME],
        os=hostinfo.os[:MAX_NAME],
        services=tuple((one.proto, one.port, one.description) for one in services),
        routable_ips=prefixes(hostinfo.routable_ips),
        machine_authorized=entry.machine_authorized,
        expired=entry.expired,
        wireguard_only=entry.is_wireguard_only,
        jailed=entry.is_jailed,
        location=_location(hostinfo.location),
    )


def _location(given: wire.Location | None) -> Location | None:
    """Texts are cut; a place that is not on the globe is none."""
    if given is None:
        return None
    on_globe = -90 <= given.latitude <= 90 and -180 <= given.longitude <= 180
    return Location(
        country=given.country[:MAX_NAME],
        country_code=given.country_code[:MAX_NAME],
        city=given.city[:MAX_NAME],
        city_code=given.city_code[:MAX_NAME],
        latitude=given.latitude if on_globe else 0.0,
        longitude=given.longitude if on_globe else 0.0,
        priority=min(max(given.priority, 0), 65535),
    )


def nodes(entries: Iterable[wire.Node]) -> tuple[netmap.Node, ...]:
    return _good(node, entries, MAX_ID)


def user_profile(entry: wire.UserProfile) -> netmap.UserProfile:
    """Raises `DecodeError` (BAD_VALUE) for a bad id."""
    return netmap.UserProfile(UserId(_id(entry.id)), entry.login_name, entry.display_name, entry.profile_pic_url)


# packet filter


def voids_filter(rule: wire.FilterRule) -> bool:
    """`SrcBits` or `Bits` anywhere in the rules voids all of them (section 14)."""
    return bool(rule.src_bits) or any(target.bits is not None for target in rule.dst_ports)


def filter_rule(rule: wire.FilterRule) -> netmap.FilterRule:
    """Bad entries are left out. Raises `DecodeError` (BAD_VALUE) when nothing is left that it could match."""
    sources = _sources(rule.src_ips[:MAX_FILTER_ENTRIES])
    targets = _good(_port_range, rule.dst_ports, MAX_FILTER_ENTRIES)
    protocols = tuple(number for number in rule.ip_proto[:256] if 0 <= number <= 255)
    grants = _good(_cap_grant, rule.cap_grant, MAX_FILTER_ENTRIES)
    if not sources or not (targets or grants) or (rule.ip_proto and not protocols):
        raise DecodeError(DecodeReason.BAD_VALUE, "filter rule that matches nothing")
    return netmap.FilterRule(sources, targets, protocols, grants)


def _sources(texts: list[str]) -> tuple[str, ...]:
    """Plain addresses, which may be many, in one go."""
    try:
        return tuple(map(_filter_address, texts))
    except DecodeError:
        return _good(_source, texts, MAX_FILTER_ENTRIES)


def _source(text: str) -> str:
    return text if text.startswith("cap:") and len(text) > 4 else _filter_address(text)


@lru_cache(maxsize=REMEMBERED)
def _filter_address(text: str) -> str:
    """`*`, an IP, a CIDR, or an inclusive range `a-b` within one family. Raises `DecodeError` (BAD_VALUE)."""
    first, dash, last = text.partition("-")
    if text == "*":
        return text
    if not dash:
        parse_prefix(text)
        return text
    try:
        low, high = ip_address(first), ip_address(last)
        if low.version != high.version or int(low) > int(high):
            raise ValueError
    except ValueError:
        raise DecodeError(DecodeReason.BAD_VALUE, f"not an address range: {text[:80]!r}") from None
    return text


def _port_range(entry: wire.NetPortRange) -> netmap.PortRange:
    if not 0 <= entry.ports.first <= entry.ports.last <= 65535:
        raise DecodeError(DecodeReason.BAD_VALUE, "port range")
    return netmap.PortRange(_filter_address(entry.ip), entry.ports.first, entry.ports.last)


def _cap_grant(entry: wire.CapGrant) -> netmap.CapGrant:
    cap_map: wire.CapMap = {name: [] for name in entry.caps[:MAX_TEXTS]}
    return netmap.CapGrant(prefixes(entry.dsts), _cap_map({**cap_map, **entry.cap_map}))


# DERP map, DNS


def derp_map(entry: wire.DerpMap) -> netmap.DerpMap:
    """Regions whose key, id or nodes do not fit are left out."""
    regions = _good(_derp_region, (entry.regions or {}).items(), MAX_TEXTS)
    scores = (entry.home_params.region_score if entry.home_params is not None else None) or {}
    return netmap.DerpMap(
        regions={region.id: region for region in regions},
        region_score={
            RegionId(int(name)): score
            for name, score in islice(scores.items(), MAX_TEXTS)
            if name.isascii() and name.isdigit() and len(name) <= 5 and score > 0
        },
    )


def _derp_region(item: tuple[str, wire.DerpRegion | None]) -> netmap.DerpRegion:
    name, entry = item
    if entry is None or not 0 < entry.region_id <= 65535 or name != str(entry.region_id):
        raise DecodeError(DecodeReason.BAD_VALUE, f"DERP region {name[:20]!r}")
    return netmap.DerpRegion(
        id=RegionId(entry.region_id),
        code=entry.region_code,
        name=entry.region_name,
        nodes=_good(_derp_node, (one for one in entry.nodes if one.region_id == entry.region_id), MAX_TEXTS),
        avoid=entry.avoid,
        no_measure_no_home=entry.no_measure_no_home,
        latitude=entry.latitude,
        longitude=entry.longitude,
    )


def _derp_node(entry: wire.DerpNode) -> netmap.DerpNode:
    if not -1 <= entry.stun_port <= 65535 or not 0 <= entry.derp_port <= 65535:
        raise DecodeError(DecodeReason.BAD_VALUE, "DERP node port")
    if not entry.name or not (entry.host_name or entry.cert_name):
        raise DecodeError(DecodeReason.BAD_VALUE, "DERP node without a name")
    return netmap.DerpNode(
        name=entry.name,
        region_id=RegionId(entry.region_id),
        host_name=entry.host_name,
        cert_name=entry.cert_name,
        ipv4=entry.ipv4,
        ipv6=entry.ipv6,
        stun_port=entry.stun_port,
        stun_only=entry.stun_only,
        derp_port=entry.derp_port,
        insecure_for_tests=entry.insecure_for_tests,
        can_port80=entry.can_port80,
    )


def _resolvers(entries: Iterable[wire.Resolver] | None) -> tuple[netmap.DnsResolver, ...]:
    listed = islice(entries or (), MAX_TEXTS)
    return tuple(netmap.DnsResolver(one.addr, one.use_with_exit_node) for one in listed if one.addr)


def dns_config(entry: wire.DnsConfig) -> netmap.DnsConfig:
    routes = islice(entry.routes.items(), MAX_TEXTS)
    return netmap.DnsConfig(
        resolvers=_resolvers(entry.resolvers),
        routes={suffix: _resolvers(resolvers) for suffix, resolvers in routes},
        fallback_resolvers=_resolvers(entry.fallback_resolvers),
        domains=tuple(entry.domains[:MAX_TEXTS]),
        proxied=entry.proxied,
        extra_records=tuple((one.name, one.type, one.value) for one in entry.extra_records[:MAX_PREFIXES]),
        cert_domains=tuple(entry.cert_domains[:MAX_TEXTS]),
        exit_filtered=tuple(entry.exit_node_filtered_set[:MAX_TEXTS]),
    )
