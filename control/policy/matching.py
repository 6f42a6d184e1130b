"""Which selectors a node matches, as bit masks over the distinct selectors of a policy.

Three masks per node: `own` (the selector holds one of its addresses), `routes` (it overlaps a subnet that the node
serves) and `exits` (destinations that an exit node carries). A node's masks depend on that node alone, so one node's
change is one computation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from control.policy.facts import selects_user
from control.policy.ranges import in_internet, overlaps, overlaps_internet
from control.policy.selectors import Kind, Selector

if TYPE_CHECKING:
    from collections.abc import Mapping

    from appliance.types.addresses import Prefix
    from appliance.types.ids import UserId
    from control.policy.facts import NodeFacts, UserFacts
    from control.policy.model import Policy


class Masks(NamedTuple):
    """Bit i stands for selector i. `covered`: destinations inside the internet set, for an exit node's filter.

    `postures`: bit i stands for posture i, which the node satisfies. `via`: networks that overlap a subnet route of the
    node, and autogroup:internet on an exit node, for grants that name the node's tags in `via`.
    """

    own: int
    routes: int
    exits: int
    covered: int
    postures: int
    via: int


class SelectorTable:
    """Numbers the selectors of a policy and matches nodes against them."""

    def __init__(self, policy: Policy, users: Mapping[UserId, UserFacts]) -> None:
        self.selectors: list[Selector] = []
        self._number: dict[Selector, int] = {}
        self._policy = policy
        self._users = users
        self._by_user: dict[UserId, int] = {}
        self._tags: dict[str, int] = {}
        self._services: dict[str, int] = {}
        self._postures = tuple(policy.postures.values())
        self._networks: list[tuple[Prefix, int]] = []
        self._every = 0
        self._tagged = 0
        self._exit_cover = 0
        self._inside_internet = 0
        self._internet = 0

    def number(self, selector: Selector) -> int:
        """The selector's bit number."""
        known = self._number.get(selector)
        if known is not None:
            return known
        number = self._number[selector] = len(self.selectors)
        self.selectors.append(selector)
        self._index(selector, 1 << number)
        return number

    def mask(self, selectors: tuple[Selector, ...]) -> int:
        mask = 0
        for selector in selectors:
            mask |= 1 << self.number(selector)
        return mask

    def _index(self, selector: Selector, bit: int) -> None:
        kind = selector.kind
        if kind in (Kind.ANY, Kind.DANGER_ALL):
            self._every |= bit
            self._exit_cover |= bit
        elif kind is Kind.TAG:
            self._tags[selector.value] = self._tags.get(selector.value, 0) | bit
        elif kind is Kind.TAGGED:
            self._tagged |= bit
        elif kind is Kind.INTERNET:
            self._internet |= bit
            self._exit_cover |= bit
            self._inside_internet |= bit
        elif kind is Kind.SERVICE:
            self._services[selector.value] = self._services.get(selector.value, 0) | bit
        elif selector.is_network:
            self._index_networks(selector, bit)

    def _index_networks(self, selector: Selector, bit: int) -> None:
        for prefix in selector.networks:
            self._networks.append((prefix, bit))
            if prefix.prefixlen == 0:
                self._exit_cover |= bit
            if in_internet(prefix):
                self._inside_internet |= bit

    def match(self, node: NodeFacts) -> Masks:
        own = self._every
        for tag in node.tags:
            own |= self._tags.get(tag, 0)
        if node.tags:
            own |= self._tagged
        elif node.user_id is not None:
            own |= self._of_user(node.user_id)
        for service in node.services:
            own |= self._services.get(service, 0)
        for prefix, bit in self._networks:
            address = node.ipv4 if prefix.version == 4 else node.ipv6
            if address in prefix:
                own |= bit
        is_exit = bool(node.exit_routes)
        routes = self._overlapped(node.subnet_routes)
        return Masks(
            own,
            routes,
            self._exit_cover if is_exit else 0,
            self._inside_internet if is_exit else 0,
            self._satisfied(node) if self._postures else 0,
            (routes & ~self._internet) | (self._internet if is_exit else 0),
        )

    def _satisfied(self, node: NodeFacts) -> int:
        attributes = node.attributes
        return sum(1 << number for number, posture in enumerate(self._postures) if posture.holds(attributes))

    def posture_mask(self, names: tuple[str, ...]) -> int:
        """Bits of the named postures."""
        numbers = {name: number for number, name in enumerate(self._policy.postures)}
        return sum(1 << numbers[name] for name in names)

    def forget_user(self, user_id: UserId) -> None:
        """Look the user up again at the next match."""
        self._by_user.pop(user_id, None)

    def _of_user(self, user_id: UserId) -> int:
        mask = self._by_user.get(user_id)
        if mask is None:
            user = self._users.get(user_id)
            mask = 0
            for number, selector in enumerate(self.selectors):
                if selector.is_people and user is not None and selects_user(selector, self._policy, user):
                    mask |= 1 << number
            self._by_user[user_id] = mask
        return mask

    def _overlapped(self, routes: tuple[Prefix, ...]) -> int:
        mask = 0
        for route in routes:
            for prefix, bit in self._networks:
                if overlaps(prefix, route):
                    mask |= bit
            if self._internet and overlaps_internet(route):
                mask |= self._internet
        return mask


def reaches_route(selector: Selector, route: Prefix) -> bool:
    """Whether a destination lets traffic to `route` pass; an exit route needs one that covers the Internet."""
    if selector.kind is Kind.ANY:
        return True
    if route.prefixlen == 0:
        whole = any(prefix.prefixlen == 0 and prefix.version == route.version for prefix in selector.networks)
        return selector.kind is Kind.INTERNET or whole
    if selector.kind is Kind.INTERNET:
        return overlaps_internet(route)
    return any(overlaps(prefix, route) for prefix in selector.networks)


def comes_from_route(selector: Selector, route: Prefix) -> bool:
    """Whether a source means the network behind a subnet route; exit routes are never a source."""
    if route.prefixlen == 0:
        return False
    if selector.kind in (Kind.ANY, Kind.DANGER_ALL):
        return True
    return any(overlaps(prefix, route) for prefix in selector.networks)
