"""`NetlinkPort` on rtnetlink: routes, of which there may be 10,000, by messages of our own in batches, the rest through
pyroute2's asyncio client.

Two sockets, opened at first use in the network namespace of the calling thread. Requests are serialised: the client
does not interleave dumps.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from ipaddress import ip_interface
from itertools import groupby
from socket import AF_INET, AF_INET6
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2 import NetlinkError as KernelError

from appliance.drivers.netlink_channel import BATCH, NetlinkChannel, reason
from appliance.drivers.route_messages import (
    CREATE,
    DELETE_ROUTE,
    GET_ROUTE,
    NEW_ROUTE,
    REPLACE,
    dump_payload,
    parse_route,
    route_payload,
)
from appliance.drivers.shared_address import LABEL as SHARED
from appliance.drivers.sockets import OpenSocket
from appliance.ports.netlink import (
    QUEUE_MAJOR,
    InterfaceAddress,
    Link,
    NetlinkError,
    NetlinkItem,
    PolicyRule,
    Route,
)
from appliance.types.errors import DecodeError

_FR_ACT_TO_TBL = 1
_FR_ACT_UNREACHABLE = 7
_NO_SUPPRESS = 0xFFFFFFFF
_IFF_UP = 0x1
_IFF_LOOPBACK = 0x8
_IFF_RUNNING = 0x40
_SOL_NETLINK, _STRICT_CHECK = 270, 12
_PRESENT = {errno.EEXIST}
_ABSENT = {errno.ESRCH, errno.ENOENT, errno.ENODEV, errno.EADDRNOTAVAIL}
_LEAST_BURST, _QUANTUM = 6000, 16_000
"""Bytes: four packets at once; what one class sends in its turn."""
_FAMILIES = {4: AF_INET, 6: AF_INET6}


class LinuxNetlink:
    """The host's rtnetlink, or that of the network which `sockets` are of."""

    def __init__(self, sockets: OpenSocket | None = None) -> None:
        self._sockets = sockets
        self._client: Any = None
        self._channel: NetlinkChannel | None = None
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
            found: list[Route | None] = []
            for version in _FAMILIES:
                with contextlib.suppress(FileNotFoundError):  # a table that never held a route
                    for part in self._routes.dump(GET_ROUTE, dump_payload(version, table)):
                        found += [parse_route(payload, self._names) for payload in part]
                        await asyncio.sleep(0)
        return [route for route in found if route is not None and route.table == table]

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
            for wanted, items in ((False, remove), (True, add)):
                for _kind, group in groupby(items, type):
                    run = list(group)
                    await self._change_routes([item for item in run if isinstance(item, Route)], wanted, indexes)
                    for item in run:
                        if not isinstance(item, Route):
                            await _change(client, wanted, item, indexes)

    async def _change_routes(self, routes: Sequence[Route], wanted: bool, indexes: Mapping[str, int]) -> None:
        kind, flags, accepted = (NEW_ROUTE, CREATE | REPLACE, _PRESENT) if wanted else (DELETE_ROUTE, 0, _ABSENT)
        placed: list[tuple[Route, int]] = []
        for route in routes:
            index = _device(route.interface, wanted, indexes) if route.interface else 0
            if index is not None:
                placed.append((route, index))
        for start in range(0, len(placed), BATCH):
            part = placed[start : start + BATCH]
            for place, code in self._routes.batch([(kind, flags, route_payload(*each)) for each in part]):
                if code not in accepted:
                    raise NetlinkError(f"cannot {_word(wanted)} {part[place][0]}: {reason(code)}")
            await asyncio.sleep(0)  # a batch takes about a millisecond

    async def limit(self, interface: str, rates_kbit: Sequence[int]) -> None:
        async with self._open() as client:
            index = next((link.index for link in await self._links(client) if link.name == interface), None)
            if index is None and not rates_kbit:
                return
            if index is None:
                raise NetlinkError(f"no interface {interface}", mend="start the engine first")
            await _unlimit(client, index)
            if rates_kbit:
                await client.tc("add", "htb", index, QUEUE_MAJOR << 16, default=0)
            for number, rate in enumerate(rates_kbit, 1):
                await _add_class(client, index, number, rate)

    async def close(self) -> None:
        async with self._lock:
            if self._client is not None:
                client, self._client = self._client, None
                client.close()
            if self._channel is not None:
                self._channel.close()
                self._channel = None

    @contextlib.asynccontextmanager
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
            except DecodeError as error:
                raise NetlinkError(f"netlink speaks strangely: {error.text}") from error
            except OSError as error:
                raise NetlinkError(f"netlink does not answer: {error.strerror or error}") from error

    def _socket(self) -> socket.socket | None:
        """None lets the library open its own."""
        if self._sockets is None:
            return None
        return self._sockets(socket.AF_NETLINK, socket.SOCK_DGRAM, socket.NETLINK_ROUTE)

    @property
    def _routes(self) -> NetlinkChannel:
        """For one caller at a time, as the client. Raises OSError."""
        if self._channel is None:
            self._channel = NetlinkChannel(socket.NETLINK_ROUTE, self._socket())
            with contextlib.suppress(OSError):  # an old kernel tells the routes of all tables
                self._channel.socket.setsockopt(_SOL_NETLINK, _STRICT_CHECK, 1)
        return self._channel

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


async def _unlimit(client: Any, index: int) -> None:
    """Remove the root queue if it is ours."""
    found = [message["handle"] async for message in await client.get_qdiscs(index=index)]
    if QUEUE_MAJOR << 16 in found:
        await client.tc("del", "htb", index, QUEUE_MAJOR << 16)


async def _add_class(client: Any, index: int, number: int, rate_kbit: int) -> None:
    """A class and, where the kernel has it, a fair queue in it."""
    handle = QUEUE_MAJOR << 16 | number
    rate = rate_kbit * 125
    await client.tc(
        "add-class", "htb", index, handle,
        parent=QUEUE_MAJOR << 16, rate=rate, ceil=rate, burst=max(rate // 100, _LEAST_BURST),
        cburst=max(rate // 100, _LEAST_BURST), quantum=_QUANTUM,
    )  # fmt: skip
    try:
        await client.tc("add", "fq_codel", index, 0, parent=handle)
    except KernelError as error:
        if error.code not in (errno.ENOENT, errno.EOPNOTSUPP):
            raise


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


async def _change(client: Any, wanted: bool, item: InterfaceAddress | PolicyRule, indexes: Mapping[str, int]) -> None:
    try:
        if isinstance(item, InterfaceAddress):
            index = _device(item.interface, wanted, indexes)
            if index is not None:
                await client.addr("replace" if wanted else "del", **_address_request(item, index))
        else:
            await client.rule("add" if wanted else "del", **_rule_request(item))
    except KernelError as error:
        if error.code not in (_PRESENT if wanted else _ABSENT):
            raise NetlinkError(f"cannot {_word(wanted)} {item}: {_reason(error)}") from error


def _word(wanted: bool) -> str:
    return "add" if wanted else "remove"


def _device(name: str, wanted: bool, indexes: Mapping[str, int]) -> int | None:
    """None: what should go is gone with its device."""
    if name in indexes or not wanted:
        return indexes.get(name)
    raise NetlinkError(f"no interface {name}", mend="start the engine, which makes the tunnel device, first")


def _address_request(item: InterfaceAddress, index: int) -> dict[str, Any]:
    address = item.address
    return {"index": index, "address": str(address.ip), "prefixlen": address.network.prefixlen}


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
    return reason(code) if code else str(error.args[1] if len(error.args) > 1 else error)
