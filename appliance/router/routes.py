"""Addresses, tables 52 and 54 to 56, policy rules that a model asks for (node-os spec 1.2); differences to what is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_interface

from appliance.ports.netlink import (
    TABLE_DEFAULT,
    TABLE_MAIN,
    InterfaceAddress,
    NetlinkItem,
    PolicyRule,
    Route,
    RouteKind,
    owned,
)
from appliance.router.exit_uplink import uplink_items
from appliance.router.model import (
    EXIT_TABLE,
    GUARD_METRIC,
    MARK_BYPASS,
    MARK_MASK,
    OWN_FIRST_TABLE,
    ROUTE_TABLE,
    SITE_TABLE,
    RouterModel,
)
from appliance.types.addresses import DEFAULT_V4, DEFAULT_V6, SERVICE_V4, SERVICE_V6, Prefix, is_overlay
from appliance.types.ordered_prefixes import prefix_set

SERVICE_INTERFACE = "lo"
"""Carries service addresses: on the tunnel's device one of them could become the source address of traffic."""
SITE_PRIORITY = 5280
OWN_FIRST_PRIORITY = 5300
"""Of the rules for the longest prefixes; two for each length, one after the other."""
PRIORITIES = range(5210, OWN_FIRST_PRIORITY + 2 * 129)
TABLES = (ROUTE_TABLE, EXIT_TABLE, SITE_TABLE, OWN_FIRST_TABLE)
NEVER_ROUTED: tuple[Prefix, ...] = (
    IPv4Network("169.254.0.0/16"),
    IPv4Network("224.0.0.0/4"),
    IPv6Network("fe80::/10"),
    IPv6Network("ff00::/8"),
)
"""Destinations on the link itself: an exit does not concern them."""


def policy_rules(version: int) -> tuple[PolicyRule, ...]:
    """Marked packets use the host's tables or nothing; all others ask table 52 first."""
    return (
        PolicyRule(version, 5210, TABLE_MAIN, MARK_BYPASS, MARK_MASK),
        PolicyRule(version, 5230, TABLE_DEFAULT, MARK_BYPASS, MARK_MASK),
        PolicyRule(version, 5250, 0, MARK_BYPASS, MARK_MASK),
        PolicyRule(version, 5270, ROUTE_TABLE),
    )


def desired(model: RouterModel, versions: Iterable[int] = (4, 6)) -> dict[NetlinkItem, None]:
    """Everything, in order of installation. A route that is also local stays with the host."""
    wanted = frozenset(versions)
    items: dict[NetlinkItem, None] = {}
    for prefix in model.addresses:
        if prefix.version in wanted:
            items[InterfaceAddress(model.interface, ip_interface(prefix))] = None
    for address in model.service_addresses:
        if address.version in wanted:
            items[InterfaceAddress(SERVICE_INTERFACE, ip_interface(address))] = None
    kept = dict.fromkeys((*model.local_routes, *guarded(model)))
    exit_table = table_of(model, DEFAULT_V4)
    for table in dict.fromkeys((ROUTE_TABLE, exit_table)):
        for prefix in kept:
            if prefix.version in wanted:
                items[Route(prefix, table, RouteKind.THROW)] = None
    if model.guard is not None:
        for prefix in (DEFAULT_V4, DEFAULT_V6):
            if prefix.version in wanted:  # stays when the device goes, and where no exit serves this IP version
                items[Route(prefix, exit_table, RouteKind.UNREACHABLE, metric=GUARD_METRIC)] = None
    items |= dict.fromkeys(_ways(model, model.routes, kept, wanted))
    for device in model.devices:
        for prefix in device.routes:
            if prefix.version in wanted:
                items[Route(prefix, ROUTE_TABLE, interface=device.name)] = None
    for version in sorted(wanted):
        items |= dict.fromkeys(policy_rules(version))
        if exit_table == SITE_TABLE:
            items[PolicyRule(version, SITE_PRIORITY, SITE_TABLE, forwarded=True)] = None
        items |= dict.fromkeys(_own_first_rules(model, version))
    if model.exit_uplink is not None:
        items |= dict.fromkeys(uplink_items(model.exit_uplink, wanted))
    return items


def _ways(
    model: RouterModel, prefixes: Iterable[Prefix], kept: Collection[Prefix], wanted: Collection[int]
) -> Iterator[Route]:
    """Into the tunnel, but for what the host keeps; where its own routes go first, table 52 is left at that prefix."""
    for prefix in prefixes:
        if prefix in kept or prefix.version not in wanted:
            continue
        if gives_way(model, prefix):
            yield Route(prefix, ROUTE_TABLE, RouteKind.THROW)
            yield Route(prefix, OWN_FIRST_TABLE, interface=model.interface)
        else:
            yield Route(prefix, table_of(model, prefix), interface=model.interface)


def gives_way(model: RouterModel, prefix: Prefix) -> bool:
    """Whether the host's own routes of that length go before the tunnel's."""
    return model.guard is None and prefix.prefixlen > 0 and prefix in model.own_first


def _own_first_rules(model: RouterModel, version: int) -> Iterator[PolicyRule]:
    """From the longest length down the host's table is asked, then ours: together as if both were one, in which the
    host's route goes first."""
    lengths = {each.prefixlen for each in model.own_first if each.version == version and gives_way(model, each)}
    for length in sorted(lengths, reverse=True):
        priority, shorter = OWN_FIRST_PRIORITY + 2 * (128 - length), length - 1
        yield PolicyRule(version, priority, TABLE_MAIN, longer_than=shorter)
        yield PolicyRule(version, priority + 1, OWN_FIRST_TABLE, longer_than=shorter)


def table_of(model: RouterModel, prefix: Prefix) -> int:
    """Where the route to a prefix through the tunnel belongs: an exit that is not for this host has its own table."""
    apart = not prefix.prefixlen and model.guard is not None and model.guard.gateway_direct
    return SITE_TABLE if apart else ROUTE_TABLE


def netlink_inputs(model: RouterModel) -> tuple[object, ...]:
    """What `desired` reads of a model, but for `routes`."""
    places = model.addresses, model.service_addresses, model.local_routes, model.own_first
    return model.interface, *places, model.guard, model.devices, model.exit_uplink


def route_changes(
    former: RouterModel, model: RouterModel, versions: Iterable[int] = (4, 6)
) -> tuple[list[NetlinkItem], list[NetlinkItem]]:
    """What to remove and what to add, of models that differ in `routes` only."""
    kept, wanted = {*model.local_routes, *guarded(model)}, frozenset(versions)
    gone, fresh = prefix_set(model.routes).difference(prefix_set(former.routes))
    return list(_ways(model, gone, kept, wanted)), list(_ways(model, fresh, kept, wanted))


def guarded(model: RouterModel) -> tuple[Prefix, ...]:
    """What keeps the host's own routes while an exit is in use."""
    return (*model.guard.near, *model.guard.direct, *NEVER_ROUTED) if model.guard is not None else ()


def difference(
    held: Iterable[NetlinkItem], wanted: Iterable[NetlinkItem]
) -> tuple[list[NetlinkItem], list[NetlinkItem]]:
    """What to remove and what to add. A route replaced in its place is not removed first."""
    old, new = dict.fromkeys(held), dict.fromkeys(wanted)
    places = {item.place for item in new if isinstance(item, Route)}
    remove = [item for item in old if item not in new and not (isinstance(item, Route) and item.place in places)]
    return list(reversed(remove)), [item for item in new if item not in old]


def ours(
    interface: str, addresses: Iterable[InterfaceAddress], routes: Iterable[Route], rules: Iterable[PolicyRule]
) -> list[NetlinkItem]:
    """Of what the kernel holds: overlay addresses on our interface, service addresses on loopback, routes and rules
    that carry our number."""
    found: list[NetlinkItem] = [
        item
        for item in addresses
        if (item.interface == interface and is_overlay(item.address.ip))
        or (item.interface == SERVICE_INTERFACE and item.address.ip in (SERVICE_V4, SERVICE_V6))
    ]
    found += [item for item in owned(routes) if isinstance(item, Route) and item.table in TABLES]
    found += [item for item in owned(rules) if isinstance(item, PolicyRule) and item.priority in PRIORITIES]
    return found
