"""Connected LANs and the tunnel: which prefixes stay with the host (node-os spec 1.2 step 6, 2.2, 2.3), pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from ipaddress import IPv4Interface, IPv6Interface

from appliance.types.addresses import CGNAT_V4, ULA_V6, Prefix, is_single


class ExitUse(StrEnum):
    """How this node uses an exit node."""

    NONE = "none"
    ALL = "all"
    """Everything goes through it; the LANs as well, so that nothing leaves beside it."""
    BESIDE_LAN = "beside-lan"
    """Everything but the LANs."""


def connected(host_addresses: Iterable[IPv4Interface | IPv6Interface]) -> tuple[Prefix, ...]:
    """LAN prefixes of the host's other interfaces: no single addresses, no link-local, no overlay; sorted."""
    found = {
        item.network
        for item in host_addresses
        if not is_single(item.network) and not item.ip.is_link_local and item.network not in (CGNAT_V4, ULA_V6)
    }
    return tuple(sorted(found, key=lambda lan: (lan.version, int(lan.network_address), lan.prefixlen)))


def share_out(
    routes: Iterable[Prefix],
    host_addresses: Iterable[IPv4Interface | IPv6Interface],
    exit_use: ExitUse = ExitUse.NONE,
) -> tuple[tuple[Prefix, ...], tuple[Prefix, ...]]:
    """`routes` and `local_routes` of a model: a route that covers a connected LAN must not cut the host off from it."""
    wanted = list(dict.fromkeys(routes))
    lans = connected(host_addresses)
    if exit_use is ExitUse.ALL:
        return tuple(dict.fromkeys([*wanted, *lans])), ()
    if exit_use is ExitUse.BESIDE_LAN:
        local = lans
    else:
        local = tuple(lan for lan in lans if any(_covers(route, lan) for route in wanted))
    return tuple(route for route in wanted if route not in local), local


def _covers(route: Prefix, lan: Prefix) -> bool:
    if route.version != lan.version or route.prefixlen > lan.prefixlen:
        return False
    return lan.network_address in route
