"""`NetlinkPort` on rtnetlink: one socket, opened at first use in the network namespace of the calling thread.

The kernel answers while it is asked, so nothing waits; readings and batches of changes give way to other tasks after
each part. Requests are serialised: readings of two callers may not mix.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from appliance.drivers.interface_messages import (
    ALL_ADDRESSES,
    DELETE_ADDRESS,
    GET_ADDRESS,
    GET_LINK,
    NEW_ADDRESS,
    NEW_LINK,
    address_payload,
    link_payload,
    parse_address,
    parse_link,
)
from appliance.drivers.netlink_channel import BATCH, NetlinkChannel, Request, reason
from appliance.drivers.netlink_messages import CREATE, EXCLUSIVE, REPLACE
from appliance.drivers.queue_messages import (
    DELETE_QUEUE,
    GET_CLASS,
    GET_QUEUE,
    NEW_CLASS,
    NEW_QUEUE,
    all_queues,
    class_payload,
    classes_of,
    fair_payload,
    parse_queue,
    removal_payload,
    root_payload,
)
from appliance.drivers.route_messages import (
    DELETE_ROUTE,
    GET_ROUTE,
    NEW_ROUTE,
    dump_payload,
    parse_route,
    route_payload,
)
from appliance.drivers.rule_messages import DELETE_RULE, GET_RULE, NEW_RULE, all_rules, parse_rule, rule_payload
from appliance.drivers.sockets import OpenSocket, open_socket
from appliance.ports.netlink import (
    QUEUE_MAJOR,
    InterfaceAddress,
    Link,
    NetlinkError,
    NetlinkItem,
    PolicyRule,
    QueueTraffic,
    Route,
)
from appliance.types.errors import DecodeError

_T = TypeVar("_T")
_PRESENT = frozenset({errno.EEXIST})
_ABSENT = frozenset({errno.ESRCH, errno.ENOENT, errno.ENODEV, errno.EADDRNOTAVAIL})
_SOL_NETLINK, _STRICT_CHECK = 270, 12
_VERSIONS = (4, 6)
_ROOT_QUEUE, _CLASS_MASK = QUEUE_MAJOR << 16, 0xFFFF
_BYTES_PER_KBIT = 125
_LEAST_BURST, _QUANTUM = 6000, 16_000
"""Bytes: four packets at once; what one class sends in its turn."""


class LinuxNetlink:
    """The host's rtnetlink, or that of the network which `sockets` are of."""

    def __init__(self, sockets: OpenSocket = open_socket) -> None:
        self._sockets = sockets
        self._channel: NetlinkChannel | None = None
        self._lock = asyncio.Lock()

    async def links(self) -> list[Link]:
        async with self._open() as channel:
            return await _read(channel, GET_LINK, link_payload(), parse_link)

    async def addresses(self, interface: str = "") -> list[InterfaceAddress]:
        async with self._open() as channel:
            names = await _names(channel)
            found = await _read(channel, GET_ADDRESS, ALL_ADDRESSES, lambda payload: parse_address(payload, names))
        return [item for item in found if interface in ("", item.interface)]

    async def routes(self, table: int) -> list[Route]:
        async with self._open() as channel:
            names = await _names(channel)
            found: list[Route] = []
            for version in _VERSIONS:
                with contextlib.suppress(FileNotFoundError):  # a table that never held a route
                    asked = dump_payload(version, table)
                    found += await _read(channel, GET_ROUTE, asked, lambda payload: parse_route(payload, names))
        return [route for route in found if route.table == table]

    async def rules(self) -> list[PolicyRule]:
        async with self._open() as channel:
            found = [await _read(channel, GET_RULE, all_rules(version), parse_rule) for version in _VERSIONS]
        return [rule for part in found for rule in part]

    async def set_link(self, interface: str, *, up: bool | None = None, mtu: int | None = None) -> None:
        async with self._open() as channel:
            indexes = await _indexes(channel)
            channel.request(NEW_LINK, link_payload(_device(interface, indexes), up=up, mtu=mtu))

    async def apply(self, remove: Sequence[NetlinkItem], add: Sequence[NetlinkItem]) -> None:
        async with self._open() as channel:
            indexes = await _indexes(channel)
            # What should go is gone with its device.
            known = {"", *indexes}
            here = [item for item in remove if isinstance(item, PolicyRule) or item.interface in known]
            await _change(channel, here, lambda item: _removal(item, indexes), _ABSENT, "remove")
            await _change(channel, add, lambda item: _addition(item, indexes), _PRESENT, "add")

    async def limit(self, interface: str, rates_kbit: Sequence[int]) -> bool:
        async with self._open() as channel:
            indexes = await _indexes(channel)
            if interface not in indexes and not rates_kbit:
                return True
            index = _device(interface, indexes)
            queues = await _read(channel, GET_QUEUE, all_queues(index), parse_queue)
            if any((each.index, each.handle) == (index, _ROOT_QUEUE) for each in queues):
                channel.request(DELETE_QUEUE, removal_payload(index, _ROOT_QUEUE))
            if rates_kbit:
                channel.request(NEW_QUEUE, root_payload(index, _ROOT_QUEUE), CREATE | EXCLUSIVE)
            fair = True
            for number, rate in enumerate(rates_kbit, 1):
                fair &= _add_class(channel, index, _ROOT_QUEUE | number, rate * _BYTES_PER_KBIT)
            return fair

    async def queue_traffic(self, interface: str) -> dict[int, QueueTraffic]:
        async with self._open() as channel:
            index = (await _indexes(channel)).get(interface)
            if index is None:
                return {}
            classes = await _read(channel, GET_CLASS, classes_of(index, _ROOT_QUEUE), parse_queue)
            queues = await _read(channel, GET_QUEUE, all_queues(index), parse_queue)
        # What a fair queue drops, its class counts in part only.
        dropped = {each.parent: each.traffic.dropped_packets for each in queues if each.index == index}
        return {
            each.handle & _CLASS_MASK: replace(
                each.traffic, dropped_packets=dropped.get(each.handle, each.traffic.dropped_packets)
            )
            for each in classes
            if each.handle & ~_CLASS_MASK == _ROOT_QUEUE
        }

    async def close(self) -> None:
        async with self._lock:
            self._close()

    def _close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    @contextlib.asynccontextmanager
    async def _open(self) -> AsyncIterator[NetlinkChannel]:
        """The socket, for one caller at a time; kernel errors become ours."""
        async with self._lock:
            try:
                with self._clean() as channel:
                    yield channel
            except DecodeError as error:
                raise NetlinkError(f"netlink speaks strangely: {error.text}") from error
            except TimeoutError as error:
                raise NetlinkError("netlink does not answer") from error
            except OSError as error:
                raise NetlinkError(f"the kernel refused a netlink request: {reason(error.errno or 0)}") from error

    @contextlib.contextmanager
    def _clean(self) -> Iterator[NetlinkChannel]:
        """After a failure, or a reading that was given up half-way, the next caller has a new socket."""
        if self._channel is None:
            opened = self._sockets(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
            self._channel = NetlinkChannel(socket.NETLINK_ROUTE, opened)
            with contextlib.suppress(OSError):  # an old kernel tells the routes of all tables
                opened.setsockopt(_SOL_NETLINK, _STRICT_CHECK, 1)
        try:
            yield self._channel
        except BaseException:
            self._close()
            raise


async def _read(channel: NetlinkChannel, kind: int, body: bytes, parse: Callable[[bytes], _T | None]) -> list[_T]:
    """All that the kernel lists, without what `parse` passes over. Raises OSError, `DecodeError`."""
    found: list[_T] = []
    for part in channel.dump(kind, body):
        found += [item for payload in part if (item := parse(payload)) is not None]
        await asyncio.sleep(0)
    return found


async def _names(channel: NetlinkChannel) -> dict[int, str]:
    return {link.index: link.name for link in await _read(channel, GET_LINK, link_payload(), parse_link)}


async def _indexes(channel: NetlinkChannel) -> dict[str, int]:
    return {name: index for index, name in (await _names(channel)).items()}


async def _change(
    channel: NetlinkChannel,
    items: Sequence[NetlinkItem],
    request: Callable[[NetlinkItem], Request],
    accepted: frozenset[int],
    verb: str,
) -> None:
    for start in range(0, len(items), BATCH):
        part = items[start : start + BATCH]
        for place, code in channel.batch([request(item) for item in part]):
            if code not in accepted:
                raise NetlinkError(f"cannot {verb} {part[place]}: {reason(code)}")
        await asyncio.sleep(0)  # a batch takes about a millisecond


def _add_class(channel: NetlinkChannel, index: int, handle: int, rate: int) -> bool:
    """A class and, where the kernel has it, a fair queue in it: whether it has."""
    burst = max(rate // 100, _LEAST_BURST)
    made = class_payload(index, handle, _ROOT_QUEUE, rate, burst, _QUANTUM)
    channel.request(NEW_CLASS, made, CREATE | EXCLUSIVE)
    try:
        channel.request(NEW_QUEUE, fair_payload(index, handle), CREATE | EXCLUSIVE)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EOPNOTSUPP):
            raise
        return False
    return True


def _addition(item: NetlinkItem, indexes: Mapping[str, int]) -> Request:
    if isinstance(item, InterfaceAddress):
        return NEW_ADDRESS, CREATE | REPLACE, address_payload(item.address, _device(item.interface, indexes))
    if isinstance(item, Route):
        index = _device(item.interface, indexes) if item.interface else 0
        return NEW_ROUTE, CREATE | REPLACE, route_payload(item, index)
    return NEW_RULE, CREATE | EXCLUSIVE, rule_payload(item)


def _removal(item: NetlinkItem, indexes: Mapping[str, int]) -> Request:
    if isinstance(item, InterfaceAddress):
        return DELETE_ADDRESS, 0, address_payload(item.address, indexes[item.interface])
    if isinstance(item, Route):
        return DELETE_ROUTE, 0, route_payload(item, indexes.get(item.interface, 0))
    return DELETE_RULE, 0, rule_payload(item)


def _device(name: str, indexes: Mapping[str, int]) -> int:
    if name in indexes:
        return indexes[name]
    raise NetlinkError(f"no interface {name}", mend="start the engine, which makes the tunnel device, first")
