"""Routes as rtnetlink messages (linux/rtnetlink.h). Pure.

The payload of a route message is struct rtmsg (12 bytes: family, lengths of destination and source prefix, TOS, table,
protocol, scope, type, u32 flags) and attributes; addresses are in network order, numbers in the host's.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from socket import AF_INET, AF_INET6

from appliance.drivers.netlink_messages import attribute, attributes, number
from appliance.ports.netlink import Route, RouteKind
from appliance.types.addresses import DEFAULT_V4, DEFAULT_V6
from appliance.types.errors import DecodeError, DecodeReason

NEW_ROUTE, DELETE_ROUTE, GET_ROUTE = 24, 25, 26
_DST, _OIF, _GATEWAY, _PRIORITY, _TABLE = 1, 4, 5, 6, 15
_HEAD = struct.Struct("=BBBBBBBBI")
_NUMBER = struct.Struct("=I")
_SCOPE_LINK, _SCOPE_HOST = 253, 254
_V6_METRIC = 1024  # what the kernel stores for an IPv6 route without a metric
_KINDS = {
    1: RouteKind.UNICAST,
    2: RouteKind.LOCAL,
    6: RouteKind.BLACKHOLE,
    7: RouteKind.UNREACHABLE,
    9: RouteKind.THROW,
}
_ON_DEVICE = (RouteKind.UNICAST, RouteKind.LOCAL)
_NUMBERS = {kind: number for number, kind in _KINDS.items()}
_FAMILIES = {4: AF_INET, 6: AF_INET6}


def route_payload(route: Route, index: int) -> bytes:
    """`index` of its interface, 0 for routes without one."""
    destination = route.destination
    direct = route.kind in _ON_DEVICE and route.gateway is None and destination.version == 4
    near = _SCOPE_HOST if route.kind is RouteKind.LOCAL else _SCOPE_LINK
    made = _HEAD.pack(
        _FAMILIES[destination.version], destination.prefixlen, 0, 0, route.table if route.table < 256 else 0,
        route.protocol, near if direct else 0, _NUMBERS[route.kind], 0,
    )  # fmt: skip
    made += attribute(_TABLE, _NUMBER.pack(route.table))
    if destination.prefixlen:
        made += attribute(_DST, destination.network_address.packed)
    if index:
        made += attribute(_OIF, _NUMBER.pack(index))
    if route.gateway is not None:
        made += attribute(_GATEWAY, route.gateway.packed)
    if route.metric:
        made += attribute(_PRIORITY, _NUMBER.pack(route.metric))
    return made


def dump_payload(version: int, table: int) -> bytes:
    """Asks for the routes of one table, where the kernel checks strictly; else it gives all."""
    head = _HEAD.pack(_FAMILIES[version], 0, 0, 0, 0, 0, 0, 0, 0)
    return head + attribute(_TABLE, _NUMBER.pack(table))


def parse_route(payload: bytes, names: Mapping[int, str]) -> Route | None:
    """None for kinds that `Route` cannot say. Raises `DecodeError`."""
    if len(payload) < _HEAD.size:
        raise DecodeError(DecodeReason.BAD_LENGTH, "route message")
    family, length, _src, _tos, table, protocol, _scope, kind_number, _flags = _HEAD.unpack_from(payload)
    kind = _KINDS.get(kind_number)
    if kind is None or family not in _FAMILIES.values():
        return None
    v6 = family == AF_INET6
    found = dict(attributes(memoryview(payload)[_HEAD.size :]))
    metric = number(found.get(_PRIORITY))
    gateway = found.get(_GATEWAY)
    try:
        return Route(
            destination=_destination(found.get(_DST), length, v6=v6),
            table=number(found.get(_TABLE), table),
            kind=kind,
            interface=names.get(number(found.get(_OIF)), "") if kind in _ON_DEVICE else "",
            gateway=_address(gateway, v6=v6) if gateway is not None else None,
            metric=0 if v6 and metric == _V6_METRIC else metric,
            protocol=protocol,
        )
    except ValueError as error:
        raise DecodeError(DecodeReason.BAD_VALUE, f"route message: {error}") from None


def _address(value: memoryview, *, v6: bool) -> IPv4Address | IPv6Address:
    return IPv6Address(bytes(value)) if v6 else IPv4Address(bytes(value))


def _destination(value: memoryview | None, length: int, *, v6: bool) -> IPv4Network | IPv6Network:
    if value is None:
        return DEFAULT_V6 if v6 else DEFAULT_V4
    return IPv6Network((bytes(value), length)) if v6 else IPv4Network((bytes(value), length))
