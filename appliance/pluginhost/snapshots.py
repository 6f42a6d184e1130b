"""Makes the plugin API's netmap values from the core's. Cost follows the diff, but for `snapshot`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from appliance.api.dns import DnsSettings, DnsUpstream
from appliance.api.values import NetmapChange, NetmapSnapshot, NodeInfo, OfferedRoute, PrefixTranslation
from appliance.types.ids import UserId
from appliance.types.netmap import DnsConfig, DnsResolver, NetmapDiff, Node, UserProfile
from appliance.types.translated import SERVICE, parse_pair


def node_info(node: Node, users: Mapping[UserId, UserProfile]) -> NodeInfo:
    """`node` for plugins; a node without a known owner has user ""."""
    own = set(node.addresses)
    profile = users.get(node.user)
    return NodeInfo(
        stable_id=node.stable_id,
        name=node.name.rstrip("."),
        addresses=tuple(str(prefix.network_address) for prefix in node.addresses),
        routes=tuple(str(prefix) for prefix in node.allowed_ips if prefix not in own),
        online=node.online,
        tags=node.tags,
        user=profile.login_name if profile is not None else "",
        os=node.os,
        capabilities=tuple(sorted(node.cap_map)),
        primary=tuple(str(prefix) for prefix in node.primary_routes),
        location=node.location,
        translations=tuple(_translations(node)),
    )


def _translations(node: Node) -> Iterator[PrefixTranslation]:
    for proto, _, text in node.services:
        if proto == SERVICE and (pair := parse_pair(text)) is not None:
            yield PrefixTranslation(*map(str, pair))


def dns_settings(config: DnsConfig) -> DnsSettings:
    return DnsSettings(
        resolvers=_upstreams(config.resolvers),
        fallback=_upstreams(config.fallback_resolvers),
        routes={suffix.strip("."): _upstreams(found) for suffix, found in config.routes.items()},
        domains=tuple(name.strip(".") for name in config.domains),
        proxied=config.proxied,
        records=config.extra_records,
    )


def _upstreams(resolvers: Iterable[DnsResolver]) -> tuple[DnsUpstream, ...]:
    return tuple(DnsUpstream(one.addr, one.use_with_exit_node) for one in resolvers)


def change(
    diff: NetmapDiff, self_node: Node | None, users: Mapping[UserId, UserProfile], dns: DnsConfig
) -> NetmapChange:
    """`self_node` and `dns` are the current ones; they are passed on only where the diff says that they changed."""
    return NetmapChange(
        full=diff.full,
        self_node=node_info(self_node, users) if self_node is not None and (diff.self_changed or diff.full) else None,
        changed=tuple(node_info(node, users) for node in diff.changed.values()),
        removed=tuple(node.stable_id for node in diff.removed.values()),
        dns=dns_settings(dns) if diff.dns_changed or diff.full else None,
    )


def snapshot(
    self_node: Node | None, peers: Iterable[Node], users: Mapping[UserId, UserProfile], domain: str, dns: DnsConfig
) -> NetmapSnapshot:
    return NetmapSnapshot(
        self_node=node_info(self_node, users) if self_node is not None else None,
        peers=tuple(node_info(peer, users) for peer in peers),
        domain=domain,
        dns=dns_settings(dns),
    )


def full_change(netmap: NetmapSnapshot) -> NetmapChange:
    """The change that brings a plugin without any knowledge to this netmap."""
    return NetmapChange(full=True, self_node=netmap.self_node, changed=netmap.peers, dns=netmap.dns)


def offered_routes(peers: Iterable[Node]) -> tuple[OfferedRoute, ...]:
    """What these peers route beyond their own addresses."""
    return tuple(
        OfferedRoute(str(prefix), peer.stable_id)
        for peer in peers
        for prefix in peer.allowed_ips
        if prefix not in peer.addresses
    )
