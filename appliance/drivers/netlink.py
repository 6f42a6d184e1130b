"""`NetlinkPort` on rtnetlink, through pyroute2's asyncio client.

One socket, opened at first use in the network namespace of the calling thread. Requests are serialised: the client
does not interleave dumps.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_interface, ip_network
from socket import AF_INET, AF_INET6
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2 import NetlinkError as KernelError

from appliance.drivers.shared_address import LABEL as SHARED
from appliance.drivers.sockets import OpenSocket
from appliance.ports.netlink import (
    InterfaceAddress,
    Link,
    NetlinkError,
    NetlinkItem,
    PolicyRule,
    Route,
    RouteKind,
)
from appliance.types.addresses import DEFAULT_V4, DEFAULT_V6

_ROUTE_TYPES = {1: RouteKind.UNICAST, 6: RouteKind.BLACKHOLE, 7: RouteKind.UNREACHABLE, 9: RouteKind.THROW}
_TYPE_NUMBERS = {kind: number for number, kind in _ROUTE_TYPES.items()}
_FR_ACT_TO_TBL = 1
_FR_ACT_UNREACHABLE = 7
_NO_SUPPRESS = 0xFFFFFFFF
_IFF_UP = 0x1
_IFF_LOOPBACK = 0x8
_IFF_RUNNING = 0x40
_V6_METRIC = 1024  # what the kernel stores for an IPv6 route without a metric
_ABSENT = {errno.ESRCH, errno.ENOENT, errno.ENODEV, errno.EADDRNOTAVAIL}
_FAMILIES = {4: AF_INET, 6: AF_INET6}


class LinuxNetlink:
    """The host's rtnetlink, or that of the network which `sockets` are of."""

    def __init__(self, sockets: OpenSocket | None = None) -> None:
        self._sockets = sockets
        self._client: Any = None
        self._lock = asyncio.Lock()
        self._names: dict[int, str] = {}

    async def links(self) -> list[Link]:
        async with self._open() as client:
            return await self._links(client)

    async def addresses(self, interface: str = "") -> list[InterfaceAddress]:
        async with self._open() as client:
            await self._links(client)
            found = [self._address(message) async for message in await client.addr("dump")]
        return [item for item in found if item is not None and interface in ("", item.interface)]

    async def routes(self, table: int) -> list[Route]:
        async with self._open() as client:
            await self._links(client)
            messages = [
                message
                for family in _FAMILIES.values()
                async for message in await client.route("dump", family=family, table=table)
            ]
        return [route for route in map(self._route, messages) if route is not None and route.table == table]

    async def rules(self) -> list[PolicyRule]:
        async with self._open() as client:
            messages = [
                message for family in _FAMILIES.values() async for message in await client.rule("dump", family=family)
            ]
        return [rule for rule in map(_rule, messages) if rule is not None]

    async def set_link(self, interface: str, *, up: bool | None = None, mtu: int | None = None) -> None:
        wanted: dict[str, Any] = {} if mtu is None else {"mtu": mtu}
        if up is not None:
            wanted["state"] = "up" if up else "down"
        async with self._open() as client:
            index = await self._index(client, interface)
            await client.link("set", index=index, **wanted)

    async def apply(self, remove: Sequence[NetlinkItem], add: Sequence[NetlinkItem]) -> None:
        async with self._open() as client:
            indexes = {link.name: link.index for link in await self._links(client)}
            for item in remove:
                await _change(client, "del", item, indexes, accepted=_ABSENT)
            for item in add:
                verb = "add" if isinstance(item, PolicyRule) else "replace"
                await _change(client, verb, item, indexes, accepted={errno.EEXIST})

    async def close(self) -> None:
        async with self._lock:
            if self._client is not None:
                client, self._client = self._client, None
                client.close()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Any]:
        """The client, for one caller at a time; kernel errors become ours."""
        async with self._lock:
            try:
                if self._client is None:
                    client = AsyncIPRoute(strict_check=True, use_socket=self._socket())
                    await client.setup_endpoint()
                    self._client = client
                yield self._client
            except KernelError as error:
                raise NetlinkError(f"the kernel refused a netlink request: {_reason(error)}") from error
            except OSError as error:
                raise NetlinkError(f"netlink does not answer: {error.strerror or error}") from error

    def _socket(self) -> socket.socket | None:
        """None lets the library open its own."""
        if self._sockets is None:
            return None
        return self._sockets(socket.AF_NETLINK, socket.SOCK_DGRAM, socket.NETLINK_ROUTE)

    async def _links(self, client: Any) -> list[Link]:
        found = [_link(message) async for message in await client.link("dump")]
        self._names = {link.index: link.name for link in found}
        return found

    async def _index(self, client: Any, interface: str) -> int:
        for link in await self._links(client):
            if link.name == interface:
                return link.index
        raise NetlinkError(f"no interface {interface}", mend="start the engine, which makes the tunnel device, first")

    def _address(self, message: Any) -> InterfaceAddress | None:
        attrs = _attributes(message)
        text = attrs.get("IFA_LOCAL") or attrs.get("IFA_ADDRESS")
        name = self._names.get(message["index"])
        if text is None or name is None or str(attrs.get("IFA_LABEL") or "").endswith(SHARED):
            return None
        address = ip_interface(f"{text}/{message['prefixlen']}")
        return None if address.version == 6 and address.ip.is_link_local else InterfaceAddress(name, address)

    def _route(self, message: Any) -> Route | None:
        kind = _ROUTE_TYPES.get(message["type"])
        if kind is None:
            return None
        attrs = _attributes(message)
        v6 = message["family"] == AF_INET6
        default = DEFAULT_V6 if v6 else DEFAULT_V4
        text = attrs.get("RTA_DST")
        destination = ip_network(f"{text}/{message['dst_len']}") if text else default
        metric = attrs.get("RTA_PRIORITY", 0)
        gateway = attrs.get("RTA_GATEWAY")
        return Route(
            destination=destination,
            table=attrs.get("RTA_TABLE", message["table"]),
            kind=kind,
            interface=self._names.get(attrs.get("RTA_OIF", 0), "") if kind is RouteKind.UNICAST else "",
            gateway=ip_address(gateway) if gateway else None,
            metric=0 if v6 and metric == _V6_METRIC else metric,
            protocol=message["proto"],
        )


def _attributes(message: Any) -> dict[str, Any]:
    return {attribute[0]: attribute[1] for attribute in message["attrs"]}


def _link(message: Any) -> Link:
    attrs = _attributes(message)
    flags = message["flags"]
    return Link(
        message["index"], attrs["IFLA_IFNAME"], attrs.get("IFLA_MTU", 0), bool(flags & _IFF_UP),
        bool(flags & _IFF_LOOPBACK), bool(flags & _IFF_RUNNING),
    )  # fmt: skip


def _rule(message: Any) -> PolicyRule | None:
    attrs = _attributes(message)
    action = message["action"]
    if action not in (_FR_ACT_TO_TBL, _FR_ACT_UNREACHABLE):
        return None
    mark = attrs.get("FRA_FWMARK", 0)
    return PolicyRule(
        version=6 if message["family"] == AF_INET6 else 4,
        priority=attrs.get("FRA_PRIORITY", 0),
        table=attrs.get("FRA_TABLE", message["table"]) if action == _FR_ACT_TO_TBL else 0,
        mark=mark,
        mask=attrs.get("FRA_FWMASK", 0) if mark else 0,
        protocol=attrs.get("FRA_PROTOCOL", 0),
        no_default=attrs.get("FRA_SUPPRESS_PREFIXLEN", _NO_SUPPRESS) == 0,
    )


async def _change(
    client: Any, verb: str, item: NetlinkItem, indexes: Mapping[str, int], *, accepted: Iterable[int]
) -> None:
    try:
        if isinstance(item, InterfaceAddress):
            await client.addr(verb, **_address_request(item, _device(item.interface, verb, indexes)))
        elif isinstance(item, Route):
            await client.route(verb, **_route_request(item, indexes, verb))
        else:
            await client.rule(verb, **_rule_request(item))
    except _Absent:
        return
    except KernelError as error:
        if error.code not in accepted:
            word = "remove" if verb == "del" else "add"
            raise NetlinkError(f"cannot {word} {item}: {_reason(error)}") from error


class _Absent(Exception):
    """Within this module: what should go is gone with its device."""


def _device(name: str, verb: str, indexes: Mapping[str, int]) -> int:
    if name in indexes:
        return indexes[name]
    if verb == "del":
        raise _Absent
    raise NetlinkError(f"no interface {name}", mend="start the engine, which makes the tunnel device, first")


def _address_request(item: InterfaceAddress, index: int) -> dict[str, Any]:
    address = item.address
    return {"index": index, "address": str(address.ip), "prefixlen": address.network.prefixlen}


def _route_request(item: Route, indexes: Mapping[str, int], verb: str) -> dict[str, Any]:
    request: dict[str, Any] = {
        "family": _FAMILIES[item.destination.version],
        "dst": str(item.destination.network_address),
        "dst_len": item.destination.prefixlen,
        "table": item.table,
        "type": _TYPE_NUMBERS[item.kind],
        "proto": item.protocol,
    }
    if item.kind is RouteKind.UNICAST:
        request["oif"] = _device(item.interface, verb, indexes)
        request["scope"] = 0 if item.gateway or item.destination.version == 6 else 253
    if item.gateway is not None:
        request["gateway"] = str(item.gateway)
    if item.metric:
        request["priority"] = item.metric
    return request


def _rule_request(item: PolicyRule) -> dict[str, Any]:
    request: dict[str, Any] = {
        "family": _FAMILIES[item.version],
        "priority": item.priority,
        "action": _FR_ACT_TO_TBL if item.table else _FR_ACT_UNREACHABLE,
        "protocol": item.protocol,
    }
    if item.table:
        request["table"] = item.table
    if item.no_default:
        request["FRA_SUPPRESS_PREFIXLEN"] = 0
    if item.mark:
        request |= {"fwmark": item.mark, "fwmask": item.mask}
    return request


def _reason(error: KernelError) -> str:
    code = getattr(error, "code", 0) or 0
    if code == errno.EPERM:
        return "operation not permitted; CAP_NET_ADMIN is missing"
    return str(error.args[1] if len(error.args) > 1 else error)
