"""Pure: what those who use this exit go on by, from the settings."""

from __future__ import annotations

from collections.abc import Iterable

from appliance.api import AttachedPrefix, EgressUplink
from plugins.exit_node.config import ExitNodeConfig
from plugins.exit_node.proxies import ForwarderPlaces, Proxy, is_proxy, parse_proxy

DNS_PORT = 53


def uplink_of(config: ExitNodeConfig, forwarder: ForwarderPlaces) -> EgressUplink | None:
    """None: the host's own routes, or this gateway is no exit. Behind a proxy nothing leaves before the forwarder is
    there."""
    if not config.advertise or not config.uplink:
        return None
    if is_proxy(config.uplink):
        return EgressUplink(port=forwarder.port, udp_port=forwarder.udp_port, resolvers=forwarder.resolvers)
    return EgressUplink(interface=config.uplink, resolvers=resolver_places(config.uplink_resolvers))


def resolver_places(addresses: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"[{each}]:{DNS_PORT}" if ":" in each else f"{each}:{DNS_PORT}" for each in addresses)


def proxy_of(config: ExitNodeConfig) -> Proxy | None:
    """None: there is no proxy to go through, or nobody who would."""
    return parse_proxy(config.uplink) if config.advertise and is_proxy(config.uplink) else None


def no_udp(config: ExitNodeConfig, forwarder: ForwarderPlaces) -> str:
    """Why the users' UDP is refused; "": it goes on as their TCP does."""
    if proxy_of(config) is None or forwarder.udp_port:
        return ""
    return forwarder.no_udp or "the proxy was not asked yet"


def is_there(config: ExitNodeConfig, attached: Iterable[AttachedPrefix], forwarder: ForwarderPlaces) -> bool:
    """Whether the link that the settings name is up, with an address; or the proxy answers."""
    if is_proxy(config.uplink):
        return bool(forwarder.port) and forwarder.answers
    return any(each.interface == config.uplink and each.up for each in attached)
