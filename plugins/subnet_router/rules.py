"""Pure rules of subnet routing (node-os spec 2.1, 2.2): which prefixes may be advertised, and which accepted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from ipaddress import ip_address, ip_network

from appliance.api import AttachedPrefix
from appliance.types.addresses import Prefix, in_overlay
from appliance.types.via import parse_via_route, via_parts
from plugins.subnet_router.errors import RouteSettingError
from plugins.subnet_router.via import lan_of, unfit

EQUALS_LAN = "this gateway's own network on {interface} has the same prefix"
COVERS_SELF = "it contains this gateway's own address {address} on {interface}"
ADVERTISED_HERE = "this gateway advertises it itself"
IN_OVERLAY = "it lies in the address ranges of the mesh"
UNWANTED = "the settings refuse it"
PRIVATE: tuple[Prefix, ...] = tuple(
    ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
"""What `auto` may offer: networks that nobody reaches otherwise (RFC 1918, RFC 4193)."""
_VIRTUAL = ("docker", "br-", "veth", "virbr", "lxc", "podman", "cni", "wg", "tun", "tap")
"""How interfaces of containers and other tunnels begin; `auto` leaves them out."""


def normalise_routes(texts: Iterable[str]) -> tuple[str, ...]:
    """Masked, sorted by family and address, each once. Raises `RouteSettingError` naming the entry."""
    found = {advertisable(index, text) for index, text in enumerate(texts)}
    return tuple(str(prefix) for prefix in sorted(found, key=by_family))


def advertisable(index: int, text: str, *, key: str = "advertise_routes") -> Prefix:
    """A prefix that hosts of the site can be in, also in 4via6 form or as `192.168.1.0/24-via-7`, which becomes that.

    Raises `RouteSettingError` naming entry `index` of `key`.
    """
    if (via := parse_via_route(text)) is not None:
        return _checked_via(index, via, key)
    try:
        prefix = ip_network(text.strip(), strict=False)
    except ValueError:
        mend = "write it like 192.168.10.0/24, or 192.168.10.0/24-via-7 for site 7"
        raise RouteSettingError(index, f"{text[:64]!r} is not a prefix", key=key, mend=mend) from None
    if prefix.prefixlen == 0:
        mend = "offering all of the Internet is the exit_node plugin's work"
        raise RouteSettingError(index, f"{prefix} is a default route, not a subnet", key=key, mend=mend)
    if via_parts(prefix) is not None:
        return _checked_via(index, prefix, key)
    if in_overlay(prefix):
        mend = "remove it; these addresses belong to the mesh's nodes"
        raise RouteSettingError(index, f"{prefix} overlaps the address ranges of the mesh", key=key, mend=mend)
    if prefix.is_multicast or prefix.is_loopback or prefix.is_link_local or prefix.network_address.is_unspecified:
        raise RouteSettingError(index, f"{prefix} cannot be routed", key=key, mend="name a network that hosts are in")
    return prefix


def _checked_via(index: int, prefix: Prefix, key: str) -> Prefix:
    parts = via_parts(prefix)
    assert parts is not None
    if parts[1].prefixlen == 0:
        mend = "name the site's own networks; offering all of the Internet is the exit_node plugin's work"
        raise RouteSettingError(index, f"{prefix} stands for every IPv4 address", key=key, mend=mend)
    if problem := unfit(parts[1]):
        raise RouteSettingError(index, f"{prefix}: {problem}", key=key, mend="name a network that hosts are in")
    return prefix


def automatic_routes(attached: Iterable[AttachedPrefix], refused: Iterable[str]) -> tuple[str, ...]:
    """Attached private networks; `refused` holds prefixes and names of interfaces."""
    entries = frozenset(refused)
    shut = [ip_network(text) for text in entries if "/" in text]
    found = set()
    for lan in attached:
        prefix = ip_network(lan.prefix)
        if lan.interface in entries or lan.interface.startswith(_VIRTUAL) or prefix.num_addresses == 1:
            continue
        private = any(contains(each, prefix) for each in PRIVATE) and not in_overlay(prefix)
        if private and not any(contains(each, prefix) for each in shut):
            found.add(prefix)
    return tuple(str(prefix) for prefix in sorted(found, key=by_family))


def joined(*lists: Iterable[str]) -> tuple[str, ...]:
    """Prefixes of all lists, sorted, each once."""
    found = {ip_network(text) for texts in lists for text in texts}
    return tuple(str(prefix) for prefix in sorted(found, key=by_family))


def link_problem(route: str, attached: Iterable[AttachedPrefix], before: frozenset[str]) -> str:
    """What is wrong with the port to a LAN, "" = nothing. `before`: prefixes that were attached earlier in this run.

    A LAN that was never attached lies behind another router; nothing is known of its ports. With no port left that has
    a link the gateway is cut off from everything, also from control: there is nobody to tell, and to forget the LAN
    until the cable is back would only end the connections that wait for it.
    """
    prefix = ip_network(route)
    ports = [lan for lan in attached if not lan.interface.startswith(_VIRTUAL)]
    mine = [lan for lan in ports if prefix.overlaps(ip_network(lan.prefix))]
    if any(lan.up for lan in mine) or not any(lan.up for lan in ports):
        return ""
    if mine:
        return f"{mine[0].interface} has no link"
    return "its interface is gone" if any(prefix.overlaps(ip_network(text)) for text in before) else ""


def share_places(
    address: str, attached: Iterable[AttachedPrefix], offered: Iterable[str], primary: Iterable[str]
) -> tuple[str, ...]:
    """Interfaces on which this router holds a shared address now: their LAN goes through it.

    A link-local IPv6 address is on every LAN with IPv6.
    """
    found = ip_address(address)
    served = [ip_network(text) for text in frozenset(offered).intersection(primary)]
    linked = [(lan.interface, ip_network(lan.prefix)) for lan in attached if lan.up]
    if found.version == 6 and found.is_link_local:
        with_ipv6 = [(name, prefix) for name, prefix in linked if prefix.version == 6]
        return tuple(sorted({name for name, prefix in with_ipv6 if any(map(prefix.overlaps, served))}))
    through_here = any(found in each for each in served)
    return tuple(sorted({name for name, prefix in linked if through_here and found in prefix}))


def probes_in(route: str, probes: Iterable[str]) -> tuple[str, ...]:
    """The hosts that tell whether a LAN is there."""
    prefix = ip_network(route)
    return tuple(text for text in probes if ip_address(text) in prefix)


def verdict(
    prefix: Prefix,
    lans: Sequence[tuple[Prefix, AttachedPrefix]],
    own: Collection[Prefix],
    shut: Iterable[Prefix],
    only: Collection[Prefix] = (),
) -> str | None:
    """Why an offered subnet is refused, "" = it is not; None for a default route, not this plugin's business.

    One equal to an attached network is refused, for accepting it would cut the own network off. One that contains an
    attached network is accepted, and that is thrown back to the host's own routes. One inside an attached network is
    refused only where the gateway's own address lies in it. The settings refuse what lies in `shut`, and, where `only`
    names networks, what lies in none of them.
    """
    if prefix.prefixlen == 0:
        return None
    if prefix in own:
        return ADVERTISED_HERE
    if in_overlay(prefix) and via_parts(prefix) is None:
        return IN_OVERLAY
    unwanted = any(contains(each, prefix) for each in shut)
    left_out = bool(only) and not any(contains(each, prefix) for each in only)
    return UNWANTED if unwanted or left_out else _lan_conflict(prefix, lans)


def gives_way(prefix: Prefix, own_first: Iterable[Prefix], mesh_first: Iterable[Prefix]) -> bool:
    """Whether the host's own route to an accepted prefix goes first: the smallest network of the settings around it
    decides."""
    return _closest(prefix, own_first) > _closest(prefix, mesh_first)


def _closest(prefix: Prefix, networks: Iterable[Prefix]) -> int:
    return max((each.prefixlen for each in networks if contains(each, prefix)), default=-1)


def offers_subnets(routes: Iterable[str]) -> bool:
    """Whether a peer's routes hold anything but default routes."""
    return any(not route.endswith("/0") for route in routes)


def is_conflict(reason: str) -> bool:
    """Whether people should know of it; that both ends of a pair advertise one network is normal."""
    return reason not in ("", ADVERTISED_HERE, UNWANTED)


def unapproved(advertised: Iterable[str], approved: Iterable[str]) -> tuple[str, ...]:
    """Advertised prefixes that control has not approved."""
    known = frozenset(approved)
    return tuple(prefix for prefix in advertised if prefix not in known)


def families(prefixes: Iterable[str]) -> frozenset[int]:
    """IP versions in which packets for the prefixes are forwarded, on either side of a translation."""
    return frozenset(ip_network(text).version for prefix in prefixes for text in (prefix, lan_of(prefix)))


def _lan_conflict(prefix: Prefix, lans: Sequence[tuple[Prefix, AttachedPrefix]]) -> str:
    for network, lan in lans:
        if network == prefix:
            return EQUALS_LAN.format(interface=lan.interface)
        if lan.address and contains(network, prefix) and ip_address(lan.address) in prefix:
            return COVERS_SELF.format(address=lan.address, interface=lan.interface)
    return ""


def contains(outer: Prefix, inner: Prefix) -> bool:
    return outer.version == inner.version and inner.subnet_of(outer)  # type: ignore[arg-type]  # same family


def by_family(prefix: Prefix) -> tuple[int, int, int]:
    return prefix.version, int(prefix.network_address), prefix.prefixlen
