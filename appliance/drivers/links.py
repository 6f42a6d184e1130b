"""The link monitor: tells when the host's network changed, and how much; and the host's own addresses.

Kernel messages only say "look again": after a short quiet time the monitor reads what matters through `NetlinkPort`
and compares. Storms (our own route changes included) therefore cost one reading.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path

from appliance.drivers.netlink_channel import NETWORK_CHANGES
from appliance.drivers.netlink_messages import messages
from appliance.drivers.rule_messages import DELETE_RULE
from appliance.ports.netlink import TABLE_MAIN, InterfaceAddress, NetlinkError, NetlinkPort, Route, RouteKind
from appliance.types.addresses import ULA_V6, Address
from appliance.types.events import LinkChanged

QUIET_S = 0.25
LONGEST_WAIT_S = 1.0
_ARPHRD_PPP, _ARPHRD_RAWIP = "512", "519"  # if_arp.h; the latter are modems


@dataclass(frozen=True, slots=True)
class Uplink:
    """A default route of the main table with the addresses of its interface."""

    version: int
    interface: str
    gateway: Address | None
    addresses: frozenset[IPv4Interface | IPv6Interface]


@dataclass(frozen=True, slots=True)
class HostNetwork:
    """What sockets of ours depend on. `addresses` hold every interface but loopback and tunnels; `dead` names those of
    their interfaces that have no carrier.

    `uplinks` are the default routes in use, the best of each IP version; `spare` all others, the best of each
    interface.
    """

    uplinks: frozenset[Uplink]
    addresses: frozenset[InterfaceAddress]
    dead: frozenset[str] = frozenset()
    spare: frozenset[Uplink] = frozenset()

    def prefixes(self) -> tuple[IPv4Interface | IPv6Interface, ...]:
        """Addresses with their prefix lengths, sorted: the LANs that this host is in."""
        found = {item.address for item in self.addresses}
        return tuple(sorted(found, key=lambda item: (item.version, item.ip, item.network.prefixlen)))

    def endpoint_addresses(self, own: Collection[Address] = ()) -> tuple[Address, ...]:
        """Local addresses that may be offered to peers: not link-local, not of the overlay (`own` and its ULA).

        Other 100.64.0.0/10 addresses may be an ISP's and stay (magicsock-disco spec 6.7).
        """
        found = {item.address.ip for item in self.addresses} - set(own)
        usable = (address for address in found if not address.is_link_local and address not in ULA_V6)
        return tuple(sorted(usable, key=lambda address: (address.version, address)))


async def host_network(netlink: NetlinkPort, tunnels: Collection[str] = ("waypost0",)) -> HostNetwork:
    """Read the host's network. `tunnels` are left out. Raises `NetlinkError`."""
    links = await netlink.links()
    ignored = {*tunnels, *(link.name for link in links if link.loopback)}
    addresses = frozenset(item for item in await netlink.addresses() if item.interface not in ignored)
    routes = await netlink.routes(TABLE_MAIN)
    used = {item.interface for item in addresses}
    dead = frozenset(link.name for link in links if link.name in used and not (link.up and link.running))
    found = [_uplinks(version, routes, addresses, ignored) for version in (4, 6)]
    best = frozenset(uplink for ranked in found for uplink in ranked[:1])
    spare = frozenset(uplink for ranked in found for uplink in ranked[1:])
    return HostNetwork(best, addresses, dead, spare)


def _uplinks(
    version: int, routes: Iterable[Route], addresses: Iterable[InterfaceAddress], ignored: Collection[str]
) -> list[Uplink]:
    """One per interface, the best first."""
    usable = [
        item
        for item in routes
        if item.destination.prefixlen == 0
        and item.kind is RouteKind.UNICAST
        and item.destination.version == version
        and item.interface not in ignored
    ]
    ranked: dict[str, Uplink] = {}
    for route in sorted(usable, key=lambda item: item.metric):
        own = frozenset(
            item.address for item in addresses if item.interface == route.interface and item.address.version == version
        )
        ranked.setdefault(route.interface, Uplink(version, route.interface, route.gateway, own))
    return list(ranked.values())


def compare(before: HostNetwork, after: HostNetwork) -> LinkChanged | None:
    """None when nothing that matters changed; major when a default route, its interface or its address did."""
    if before.uplinks != after.uplinks:
        names = sorted({uplink.interface for uplink in before.uplinks ^ after.uplinks})
        return LinkChanged(major=True, reason=f"default route or its address changed on {', '.join(names)}")
    if before.addresses != after.addresses:
        changed = sorted(str(item) for item in before.addresses ^ after.addresses)
        return LinkChanged(major=False, reason=", ".join(changed[:4]))
    if before.dead != after.dead:
        names = sorted(before.dead ^ after.dead)
        return LinkChanged(major=False, reason=f"carrier lost or back on {', '.join(names)}")
    if before.spare != after.spare:
        names = sorted({uplink.interface for uplink in before.spare ^ after.spare})
        return LinkChanged(major=False, reason=f"other uplinks changed on {', '.join(names)}")
    return None


class LinkMonitor:
    """Calls `on_change` for each change and `on_rule_removed` when somebody deleted a policy rule."""

    def __init__(
        self,
        netlink: NetlinkPort,
        on_change: Callable[[LinkChanged], None],
        *,
        on_rule_removed: Callable[[], None] = lambda: None,
        tunnels: Collection[str] = ("waypost0",),
        quiet_s: float = QUIET_S,
    ) -> None:
        self._netlink = netlink
        self._on_change = on_change
        self._on_rule_removed = on_rule_removed
        self._tunnels = tuple(tunnels)
        self._quiet_s = quiet_s
        self._socket: socket.socket | None = None
        self._notified = asyncio.Event()
        self.current: HostNetwork | None = None

    async def start(self) -> HostNetwork:
        """Open the kernel's notices and read the network once."""
        notices = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        notices.bind((0, NETWORK_CHANGES))
        self._socket = notices
        asyncio.get_running_loop().add_reader(notices.fileno(), self._drain)
        self.current = await host_network(self._netlink, self._tunnels)
        return self.current

    async def run(self) -> None:
        """Report changes until cancelled; `start` comes first."""
        while True:
            await self._notified.wait()
            await self._settle()
            await self.look()

    async def look(self) -> LinkChanged | None:
        """Read the network now and report what changed since the last reading."""
        try:
            found = await host_network(self._netlink, self._tunnels)
        except NetlinkError:
            self._notified.set()  # a dump that the kernel interrupted: the next quiet time tries again
            return None
        before, self.current = self.current, found
        change = compare(before, found) if before is not None else None
        if change is not None:
            self._on_change(change)
        return change

    def notify(self) -> None:
        """Something may have changed."""
        self._notified.set()

    def close(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    async def _settle(self) -> None:
        """Wait until nothing was said for a quiet time, but not for ever."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + max(LONGEST_WAIT_S, self._quiet_s)
        while self._notified.is_set() and loop.time() < deadline:
            self._notified.clear()
            await asyncio.sleep(self._quiet_s)
        self._notified.clear()

    def _drain(self) -> None:
        assert self._socket is not None
        for _ in range(256):
            try:
                data = self._socket.recv(65536)
            except BlockingIOError:
                break
            except OSError:
                self._notified.set()  # ENOBUFS: notices were lost, so look
                break
            self._notified.set()
            if any(kind == DELETE_RULE for _number, kind, _payload in messages(data)):
                self._on_rule_removed()


def interface_bytes(interface: str) -> tuple[int, int] | None:
    """Bytes received and sent since the interface came, None when it is not there."""
    # not /sys/class/net, which shows the network that was there when it was mounted
    try:
        lines = Path("/proc/net/dev").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        name, colon, values = line.partition(":")
        if colon and name.strip() == interface:
            counters = values.split()
            return int(counters[0]), int(counters[8])
    return None


def is_metered(interface: str, sys: Path = Path("/sys/class/net")) -> bool:
    """Whether an interface looks like one that is paid by the byte: a modem by its device type or name, or PPP."""
    try:
        events = (sys / interface / "uevent").read_text().split()
        kind = (sys / interface / "type").read_text().strip()
    except OSError:
        events, kind = [], ""
    return interface.startswith("wwan") or "DEVTYPE=wwan" in events or kind in (_ARPHRD_PPP, _ARPHRD_RAWIP)
