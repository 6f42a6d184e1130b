"""Pure rules of subnet routing (node-os spec 2.1, 2.2): which prefixes may be advertised, and which accepted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network

from appliance.api import AttachedPrefix, OfferedRoute, RefusedRoute, RouteSelection
from appliance.types.addresses import CGNAT_V4, ULA_V6, Address, Prefix
from plugins.subnet_router.errors import RouteSettingError

EQUALS_LAN = "this gateway's own network on {interface} has the same prefix"
COVERS_SELF = "it contains this gateway's own address {address} on {interface}"
ADVERTISED_HERE = "this gateway advertises it itself"
IN_OVERLAY = "it lies in the address ranges of the mesh"


def normalise_routes(texts: Iterable[str]) -> tuple[str, ...]:
    """Masked, sorted by family and address, each once. Raises `RouteSettingError` naming the entry."""
    found = {_advertisable(index, text) for index, text in enumerate(texts)}
    return tuple(str(prefix) for prefix in sorted(found, key=_by_family))


def _advertisable(index: int, text: str) -> Prefix:
    try:
        prefix = ip_network(text.strip(), strict=False)
    except ValueError:
        mend = "write it like 192.168.10.0/24"
        raise RouteSettingError(index, f"{text[:64]!r} is not a prefix", mend=mend) from None
    if prefix.prefixlen == 0:
        mend = "offering all of the Internet is the exit_node plugin's work"
        raise RouteSettingError(index, f"{prefix} is a default route, not a subnet", mend=mend)
    if in_overlay(prefix):
        mend = "remove it; these addresses belong to the mesh's nodes"
        raise RouteSettingError(index, f"{prefix} overlaps the address ranges of the mesh", mend=mend)
    if prefix.is_multicast or prefix.is_loopback or prefix.is_link_local or prefix.network_address.is_unspecified:
        raise RouteSettingError(index, f"{prefix} cannot be routed", mend="name a network that hosts are in")
    return prefix


def in_overlay(prefix: Prefix) -> bool:
    """Whether it overlaps the ranges that node addresses come from."""
    return _overlaps(prefix, CGNAT_V4) or _overlaps(prefix, ULA_V6)


def select_routes(
    offered: Sequence[OfferedRoute], attached: Sequence[AttachedPrefix], advertised: Iterable[str]
) -> RouteSelection:
    """Judge the subnets among the offered routes; default routes are not this plugin's business.

    A prefix equal to an attached one is refused, for accepting it would cut the own network off. One that contains an
    attached prefix is accepted, and the attached one is thrown back to the host's own routes. One inside an attached
    prefix is refused only where the gateway's own address lies in it.
    """
    own = frozenset(advertised)
    lans = [(ip_network(lan.prefix), lan) for lan in attached]
    accepted: list[str] = []
    refused: list[RefusedRoute] = []
    throws: dict[str, None] = {}
    for text in dict.fromkeys(route.prefix for route in offered):
        prefix = ip_network(text)
        if prefix.prefixlen == 0:
            continue
        reason = ADVERTISED_HERE if text in own else IN_OVERLAY if in_overlay(prefix) else _lan_conflict(prefix, lans)
        if reason:
            refused.append(RefusedRoute(text, reason))
            continue
        accepted.append(text)
        throws.update(dict.fromkeys(lan.prefix for network, lan in lans if _contains(prefix, network)))
    return RouteSelection(tuple(accepted), tuple(refused), tuple(throws))


def offers_subnets(routes: Iterable[str]) -> bool:
    """Whether a peer's routes hold anything but default routes."""
    return any(not route.endswith("/0") for route in routes)


def conflicts(selection: RouteSelection) -> tuple[RefusedRoute, ...]:
    """Refusals that people should know of; that both ends of a pair advertise one network is normal."""
    return tuple(each for each in selection.refused if each.reason != ADVERTISED_HERE)


def unapproved(advertised: Iterable[str], approved: Iterable[str]) -> tuple[str, ...]:
    """Advertised prefixes that control has not approved."""
    known = frozenset(approved)
    return tuple(prefix for prefix in advertised if prefix not in known)


def families(prefixes: Iterable[str]) -> frozenset[int]:
    """IP versions among the prefixes."""
    return frozenset(ip_network(prefix).version for prefix in prefixes)


def _lan_conflict(prefix: Prefix, lans: Sequence[tuple[Prefix, AttachedPrefix]]) -> str:
    for network, lan in lans:
        if network == prefix:
            return EQUALS_LAN.format(interface=lan.interface)
        if lan.address and _contains(network, prefix) and _holds(prefix, ip_address(lan.address)):
            return COVERS_SELF.format(address=lan.address, interface=lan.interface)
    return ""


def _contains(outer: Prefix, inner: Prefix) -> bool:
    return outer.version == inner.version and inner.subnet_of(outer)  # type: ignore[arg-type]  # same family


def _overlaps(first: Prefix, second: Prefix) -> bool:
    return first.version == second.version and first.overlaps(second)


def _holds(prefix: Prefix, address: Address) -> bool:
    return prefix.version == address.version and address in prefix


def _by_family(prefix: Prefix) -> tuple[int, int, int]:
    return prefix.version, int(prefix.network_address), prefix.prefixlen
