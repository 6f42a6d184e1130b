"""Sends the daemon's own packets through a chosen uplink: a default route of its own, for marked sockets only.

| Priority | Marked packets |
|---|---|
| 5205 | main table without its default routes: LANs and static routes stay as they are |
| 5206 | table 53: the default route of the chosen uplink |

What the router service installs begins at 5210; other programs' traffic is never touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.ports.netlink import TABLE_MAIN, NetlinkItem, NetlinkPort, PolicyRule, Route, owned
from appliance.types.addresses import DEFAULT_V4, DEFAULT_V6, Address

TABLE = 53
PRIORITIES = (5205, 5206)


@dataclass(frozen=True, slots=True)
class DefaultRoute:
    """Out by `interface`, through `gateway` (None: the interface is a point-to-point link)."""

    version: int
    interface: str
    gateway: Address | None


class Steering:
    """`mark` and `mask` are those of the daemon's own sockets."""

    def __init__(self, netlink: NetlinkPort, mark: int, mask: int) -> None:
        self._netlink = netlink
        self._mark = mark
        self._mask = mask

    async def set(self, routes: Sequence[DefaultRoute]) -> None:
        """These and no others; none: as the host's tables say. Raises `NetlinkError`."""
        wanted = self._items(routes)
        held = await self._held()
        places = {item.place for item in wanted if isinstance(item, Route)}
        gone = [item for item in held if item not in wanted and not (isinstance(item, Route) and item.place in places)]
        # a rule must never point at an empty table for longer than it takes: routes first, then rules
        await self._netlink.apply(list(reversed(gone)), [item for item in wanted if item not in held])

    async def clear(self) -> tuple[str, ...]:
        """Remove everything, also of a run before; what that was, in words. Raises `NetlinkError`."""
        held = await self._held()
        await self._netlink.apply(list(reversed(held)), [])
        return tuple(str(item) for item in held)

    def _items(self, routes: Sequence[DefaultRoute]) -> list[NetlinkItem]:
        items: list[NetlinkItem] = []
        for route in routes:
            default = DEFAULT_V4 if route.version == 4 else DEFAULT_V6
            items.append(Route(default, TABLE, interface=route.interface, gateway=route.gateway))
        for route in routes:
            items.append(PolicyRule(route.version, PRIORITIES[0], TABLE_MAIN, self._mark, self._mask, longer_than=0))
            items.append(PolicyRule(route.version, PRIORITIES[1], TABLE, self._mark, self._mask))
        return items

    async def _held(self) -> list[NetlinkItem]:
        found: list[NetlinkItem] = [*owned(await self._netlink.routes(TABLE))]
        rules = await self._netlink.rules()
        found += [rule for rule in rules if rule in owned(rules) and rule.priority in PRIORITIES]
        return found
