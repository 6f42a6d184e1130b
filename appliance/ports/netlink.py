"""Links, addresses, routes and policy rules of the host, and their in-memory twin.

The port speaks of named interfaces; a driver maps names to indexes. One `apply` call is one batch: a driver may send
it in as few messages as it can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import IPv4Interface, IPv6Interface
from typing import Protocol

from appliance.types.addresses import Address, Prefix
from appliance.types.errors import UnderlayError

TABLE_DEFAULT = 253
TABLE_MAIN = 254
WAYPOST_PROTOCOL = 87
"""Origin number (rtm_protocol, FRA_PROTOCOL) on every route and rule of ours: that is how they are recognised."""
MIN_IPV6_MTU = 1280


QUEUE_MAJOR = 0x5757
"""Of the queueing discipline and the classes that hold traffic to rates (tc); no other program's, we hope."""


def class_text(number: int) -> str:
    """The class of the rate with that number, from 1, as nft writes it."""
    return f"{QUEUE_MAJOR:x}:{number:x}"


class NetlinkError(UnderlayError):
    """The kernel refused a change; `text` names the item."""

    code = "netlink"


class RouteKind(StrEnum):
    UNICAST = "unicast"
    THROW = "throw"
    UNREACHABLE = "unreachable"
    BLACKHOLE = "blackhole"
    LOCAL = "local"
    """Taken in by this host itself; `interface` is the loopback device."""


@dataclass(frozen=True, slots=True)
class Link:
    """`running`: it is up and has a carrier: a cable, an association."""

    index: int
    name: str
    mtu: int = 1500
    up: bool = True
    loopback: bool = False
    running: bool = True


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """An address with its prefix length on an interface. IPv6 link-local ones are not listed."""

    interface: str
    address: IPv4Interface | IPv6Interface

    def __str__(self) -> str:
        return f"address {self.address} on {self.interface}"


@dataclass(frozen=True, slots=True)
class Route:
    """`interface` is empty for other kinds than unicast and local; `metric` 0 is the kernel's default."""

    destination: Prefix
    table: int
    kind: RouteKind = RouteKind.UNICAST
    interface: str = ""
    gateway: Address | None = None
    metric: int = 0
    protocol: int = WAYPOST_PROTOCOL

    def __str__(self) -> str:
        kind = "" if self.kind is RouteKind.UNICAST else f"{self.kind} "
        device = f" on {self.interface}" if self.interface else ""
        return f"route {kind}{self.destination}{device} in table {self.table}"

    @property
    def place(self) -> tuple[Prefix, int, int]:
        """What the kernel holds one route for."""
        return self.destination, self.table, self.metric


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """An `ip rule`. `table` 0 means the action `unreachable`; `mark` and `mask` 0 match every packet.

    `longer_than`: of the routes found in the table only those of longer prefixes count (suppress_prefixlength), -1: all
    of them. `forwarded`: matches only what comes in from elsewhere, not what this host itself sends.
    """

    version: int
    priority: int
    table: int = 0
    mark: int = 0
    mask: int = 0
    protocol: int = WAYPOST_PROTOCOL
    longer_than: int = -1
    forwarded: bool = False

    def __str__(self) -> str:
        return f"IPv{self.version} policy rule {self.priority}"

    @property
    def place(self) -> tuple[int, int, int, int, int]:
        return self.version, self.priority, self.table, self.mark, self.mask


@dataclass(frozen=True, slots=True)
class QueueTraffic:
    """What a class of `NetlinkPort.limit` did since it was made.

    `overlimits`: how often a packet had to wait for the rate. `backlog_*` waits now. Packets are the kernel's: dropped
    ones and those that wait may be super-packets, sent ones are counted as they leave.
    """

    sent_bytes: int = 0
    sent_packets: int = 0
    dropped_packets: int = 0
    overlimits: int = 0
    backlog_bytes: int = 0
    backlog_packets: int = 0


NetlinkItem = InterfaceAddress | Route | PolicyRule


class NetlinkPort(Protocol):
    """All methods raise `NetlinkError`."""

    async def links(self) -> list[Link]: ...

    async def addresses(self, interface: str = "") -> list[InterfaceAddress]:
        """Of one interface, or of all."""
        ...

    async def routes(self, table: int) -> list[Route]:
        """Both IP versions."""
        ...

    async def rules(self) -> list[PolicyRule]:
        """Rules of the forms that `PolicyRule` can say, both IP versions."""
        ...

    async def set_link(self, interface: str, *, up: bool | None = None, mtu: int | None = None) -> None: ...

    async def apply(self, remove: Sequence[NetlinkItem], add: Sequence[NetlinkItem]) -> None:
        """Remove, then add. Adding replaces; an equal rule that exists stays; removing what is absent succeeds.

        Names the first item that the kernel refuses, and stops there; a few routes after it may be carried out.
        """
        ...

    async def limit(self, interface: str, rates_kbit: Sequence[int]) -> bool:
        """Give what leaves by a device one class per rate, instead of those given before; none: as it was at first.

        A packet is in the class that its priority names, the first is number 1; all others pass freely. Succeeds where
        there is no device and no rate. Whether each class has a fair queue; False: the kernel has none, so that the
        packets of a class go in the order in which they came.
        """
        ...

    async def queue_traffic(self, interface: str) -> dict[int, QueueTraffic]:
        """By number of the rate, all in one reading; none where there is no device or no rate."""
        ...

    async def close(self) -> None: ...


@dataclass
class MemoryNetlink:
    """The twin of `NetlinkPort`: keeps state as the kernel does. `refuse` may name a reason to refuse an item."""

    link_map: dict[str, Link] = field(default_factory=lambda: {"lo": Link(1, "lo", 65536, True, True)})
    address_list: list[InterfaceAddress] = field(default_factory=list)
    route_map: dict[tuple[Prefix, int, int], Route] = field(default_factory=dict)
    rule_list: list[PolicyRule] = field(default_factory=list)
    refuse: Callable[[NetlinkItem], str] = lambda _item: ""
    rates: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """What `limit` set, by device."""
    traffic: dict[str, dict[int, QueueTraffic]] = field(default_factory=dict)
    """What passed, by device and number of the rate; a test plays the packets."""
    fair: bool = True
    batches: list[tuple[tuple[NetlinkItem, ...], tuple[NetlinkItem, ...]]] = field(default_factory=list)

    def add_link(self, name: str, *addresses: IPv4Interface | IPv6Interface, up: bool = False) -> Link:
        """Play the host: a device appears."""
        index = max((link.index for link in self.link_map.values()), default=0) + 1
        self.link_map[name] = Link(index, name, up=up)
        self.address_list.extend(InterfaceAddress(name, address) for address in addresses)
        return self.link_map[name]

    def remove_link(self, name: str) -> None:
        """Play the host: a device goes, and with it what hangs on it."""
        del self.link_map[name]
        self._forget_rates(name)
        self.address_list = [item for item in self.address_list if item.interface != name]
        self._drop_routes(name)

    async def links(self) -> list[Link]:
        return list(self.link_map.values())

    async def addresses(self, interface: str = "") -> list[InterfaceAddress]:
        return [item for item in self.address_list if interface in ("", item.interface)]

    async def routes(self, table: int) -> list[Route]:
        return [route for route in self.route_map.values() if route.table == table]

    async def rules(self) -> list[PolicyRule]:
        return sorted(self.rule_list, key=lambda rule: (rule.version, rule.priority))

    async def set_link(self, interface: str, *, up: bool | None = None, mtu: int | None = None) -> None:
        link = self._link(interface)
        if mtu is not None:
            link = replace(link, mtu=mtu)
            if mtu < MIN_IPV6_MTU:
                self._drop_v6(interface)
        if up is not None:
            if not up and link.up:
                self._drop_v6(interface)
                self._drop_routes(interface)
            link = replace(link, up=up)
        self.link_map[interface] = link

    async def apply(self, remove: Sequence[NetlinkItem], add: Sequence[NetlinkItem]) -> None:
        self.batches.append((tuple(remove), tuple(add)))
        for item in remove:
            self._remove(item)
        for item in add:
            if reason := self.refuse(item):
                raise NetlinkError(f"cannot add {item}: {reason}")
            self._add(item)

    async def limit(self, interface: str, rates_kbit: Sequence[int]) -> bool:
        self._forget_rates(interface)
        if rates_kbit:
            self._link(interface)
            self.rates[interface] = tuple(rates_kbit)
            self.traffic[interface] = {number: QueueTraffic() for number, _ in enumerate(rates_kbit, 1)}
        return self.fair or not rates_kbit

    async def queue_traffic(self, interface: str) -> dict[int, QueueTraffic]:
        return dict(self.traffic.get(interface, {}))

    async def close(self) -> None:
        self.batches.clear()

    def _forget_rates(self, name: str) -> None:
        self.rates.pop(name, None)
        self.traffic.pop(name, None)

    def _link(self, name: str) -> Link:
        link = self.link_map.get(name)
        if link is None:
            raise NetlinkError(f"no interface {name}")
        return link

    def _remove(self, item: NetlinkItem) -> None:
        if isinstance(item, InterfaceAddress):
            self.address_list = [kept for kept in self.address_list if kept != item]
        elif isinstance(item, Route):
            held = self.route_map.get(item.place)
            if held is not None and held.kind is item.kind:
                del self.route_map[item.place]
        else:
            self.rule_list = [kept for kept in self.rule_list if kept.place != item.place]

    def _add(self, item: NetlinkItem) -> None:
        if isinstance(item, InterfaceAddress):
            self._link(item.interface)
            self._remove(item)
            self.address_list.append(item)
        elif isinstance(item, Route):
            if item.kind is RouteKind.UNICAST and not self._link(item.interface).up:
                raise NetlinkError(f"cannot add {item}: Network is down")
            self.route_map[item.place] = item
        elif all(kept.place != item.place for kept in self.rule_list):
            self.rule_list.append(item)

    def _drop_v6(self, name: str) -> None:
        self.address_list = [kept for kept in self.address_list if kept.interface != name or kept.address.version == 4]

    def _drop_routes(self, name: str) -> None:
        self.route_map = {place: route for place, route in self.route_map.items() if route.interface != name}


def owned(items: Iterable[Route | PolicyRule]) -> list[Route | PolicyRule]:
    """Those that carry our origin number."""
    return [item for item in items if item.protocol == WAYPOST_PROTOCOL]
