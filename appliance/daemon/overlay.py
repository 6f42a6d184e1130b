"""From netmap diffs and accepted routes to what engine and router are told. Pure; cost follows the diff.

A peer's own addresses are always allowed; of the prefixes that it routes only the accepted ones. Peers that cannot be
spoken with (expired, or neither a disco key nor plain WireGuard) are left out (node-os spec 1.2).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Set
from operator import ne

from appliance.api.offered import OfferedRoutes
from appliance.api.values import OfferedRoute, RouteSelection
from appliance.ports.engine import EngineDiff, EnginePeer
from appliance.types.addresses import CGNAT_V4, ULA_V6, Address, Prefix, is_node_address, is_single, known_prefix
from appliance.types.editions import Edition, edition
from appliance.types.ids import NodeId, StableNodeId
from appliance.types.keys import DiscoPublicKey, NodePublicKey
from appliance.types.netmap import NetmapDiff, Node
from appliance.types.ordered_prefixes import CountedPrefixes, PrefixSet
from appliance.types.sequences import common_ends

MAX_HOST_ROUTES = 10_000
"""More peers than this are reached by one route for the whole pool (node-os spec 1.2 step 3)."""
WIREGUARD_ONLY_KEEPALIVE_S = 25


def is_usable(node: Node) -> bool:
    return not node.expired and (node.disco_key is not None or node.wireguard_only)


def is_own(node: Node, prefix: Prefix) -> bool:
    """Whether a prefix of `allowed_ips` is the node itself; all others are routes that it serves."""
    return prefix in node.addresses or (is_single(prefix) and is_node_address(prefix.network_address))


def served_routes(node: Node) -> tuple[Prefix, ...]:
    return tuple(prefix for prefix in node.allowed_ips if not is_own(node, prefix))


DiscoKeyOf = Callable[[NodePublicKey], DiscoPublicKey | None]


class OverlayPeers:
    """Knows the usable peers and which routes are accepted.

    `disco_key_of` gives the disco key that path finding uses for a peer before the diff reaches it.
    """

    def __init__(self, disco_key_of: DiscoKeyOf = lambda _key: None) -> None:
        self._disco_key_of = disco_key_of
        self._verdicts: Edition[str, str] = Edition()
        self._accepted: set[Prefix] = set()
        self._via: dict[Prefix, StableNodeId] = {}
        self._start_over()

    def _start_over(self) -> None:
        self._nodes: dict[NodeId, Node] = {}
        self._own: dict[NodeId, tuple[Prefix, ...]] = {}
        self._v4_hosts = 0
        self._routes, self._sources, self._jailed = CountedPrefixes(), CountedPrefixes(), CountedPrefixes()
        self._holders: dict[str, CountedPrefixes] = defaultdict(CountedPrefixes)
        self._pooled, self._pools = CountedPrefixes(), frozenset[Prefix]()
        self._offers: dict[NodeId, tuple[Prefix, ...]] = {}
        self._offered = OfferedRoutes()
        self._offered_changes: dict[OfferedRoute, bool] = {}
        self._routers: dict[Prefix, set[NodeId]] = defaultdict(set)
        self._served: set[Prefix] = set()
        self._unsure: set[Prefix] = set()

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def accepted(self) -> Set[Prefix]:
        return self._accepted

    def offered(self) -> OfferedRoutes:
        """What peers serve; the very same value until something changes."""
        if self._offered_changes:
            gone = [route for route, there in self._offered_changes.items() if not there]
            self._offered = self._offered.changed(gone, self._offered_changes.keys() - gone)
            self._offered_changes = {}
        return self._offered

    def apply(self, diff: NetmapDiff) -> EngineDiff:
        """Take a netmap diff over; the engine's part of it."""
        upsert: list[EnginePeer] = []
        remove: list[NodePublicKey] = []
        reset: list[NodePublicKey] = []
        if diff.full:
            self._start_over()
        for node_id, node in diff.changed.items():
            before = diff.previous.get(node_id)
            self._put(node_id, node)
            if before is not None and before.key != node.key:
                remove.append(before.key)
            if not is_usable(node):
                remove.append(node.key)
                continue
            if (
                before is None
                or diff.full
                or self._engine_peer(before) != self._engine_peer(node)
                or not is_usable(before)
            ):
                upsert.append(self._engine_peer(node))
            if before is not None and self._has_restarted(before, node):
                reset.append(node.key)
        for node_id, node in diff.removed.items():
            self._forget(node_id)
            self._offer(node_id, node)
            remove.append(node.key)
        return EngineDiff(replace=diff.full, upsert=tuple(upsert), remove=tuple(remove), reset=tuple(reset))

    def _has_restarted(self, before: Node, node: Node) -> bool:
        """A new disco key means a new process, whose session is gone; one that the peer itself told through its
        session shows that the session lives (magicsock-disco spec 1.8)."""
        if before.key != node.key or before.disco_key is None or node.disco_key is None:
            return False
        return before.disco_key != node.disco_key != self._disco_key_of(node.key)

    def accept(self, selection: RouteSelection) -> EngineDiff:
        """Take a new choice of routes over; the peers that it changes.

        Peers that lose a prefix come first: no two may hold one at a time.
        """
        formerly, self._via = (
            self._via,
            {known_prefix(each.prefix): StableNodeId(each.stable_id) for each in selection.via},
        )
        changed = {prefix for prefix in {*formerly, *self._via} if formerly.get(prefix) != self._via.get(prefix)}
        changed |= self._take(edition(selection.verdicts))
        self._unsure |= changed
        touched = {node.id: node for prefix in changed for node in self._routers_of(prefix)}
        preferred = frozenset(self._via.values())
        ordered = sorted(touched.values(), key=lambda node: (node.stable_id in preferred, node.id))
        return EngineDiff(upsert=tuple(self._engine_peer(node) for node in ordered))

    def _routers_of(self, prefix: Prefix) -> list[Node]:
        """The peers that serve a prefix."""
        return [self._nodes[node_id] for node_id in self._routers.get(prefix, ())]

    def _take(self, verdicts: Edition[str, str]) -> set[Prefix]:
        """Which prefixes are accepted now and were not, or the other way round."""
        gone, fresh = verdicts.difference(self._verdicts)
        self._verdicts = verdicts
        before = {known_prefix(text) for text, reason in gone.items() if not reason}
        now = {known_prefix(text) for text, reason in fresh.items() if not reason}
        self._accepted -= before
        self._accepted |= now
        return before ^ now

    def routes(self) -> PrefixSet:
        """All that goes into the tunnel, in order. The peers themselves: IPv4 one by one while they are few, IPv6 as
        one."""
        self._find_served()
        if self._v4_hosts <= MAX_HOST_ROUTES:
            return self._routes.held()
        wanted: tuple[Prefix, ...] = (CGNAT_V4, ULA_V6) if ULA_V6 in self._routes.held() else (CGNAT_V4,)
        pools = frozenset(wanted)
        former, self._pools = self._pools, pools
        self._pooled.remove(former - pools)
        self._pooled.add(pools - former)
        return self._pooled.held()

    def sources(self) -> PrefixSet:
        """All that packets from the tunnel may come from."""
        self._find_served()
        return self._sources.held()

    def _find_served(self) -> None:
        """What is reached through peers, after a change of these or of the choice."""
        served = {
            prefix
            for prefix in self._unsure
            if any(self.serves(node.stable_id, prefix) for node in self._routers_of(prefix))
        }
        gone, fresh = (self._unsure - served) & self._served, served - self._served
        for held in (self._routes, self._sources, self._pooled):
            held.remove(gone)
            held.add(fresh)
        self._served -= gone
        self._served |= fresh
        self._unsure.clear()

    def serves(self, stable_id: StableNodeId, prefix: Prefix) -> bool:
        """Whether that peer is used for a route."""
        return prefix in self._accepted and self._via.get(prefix, stable_id) == stable_id

    def jailed(self) -> PrefixSet:
        return self._jailed.held()

    def holders(self, capability: str) -> tuple[Address, ...]:
        """Addresses of the peers that hold a node capability."""
        held = self._holders.get(capability)
        return tuple(prefix.network_address for prefix in held.held()) if held is not None else ()

    def _put(self, node_id: NodeId, node: Node) -> None:
        former = self._nodes.get(node_id)
        if former is not None and _routing_view(former) == _routing_view(node):
            self._nodes[node_id] = node
            return
        self._forget(node_id)
        if is_usable(node):
            self._nodes[node_id] = node
            self._own[node_id] = own = tuple(prefix for prefix in node.allowed_ips if is_own(node, prefix))
            self._sources.add(own)
            self._routes.add(_host_routes(node))
            for held in self._lists(node):
                held.add(node.addresses)
            self._v4_hosts += _v4_count(node)
        self._offer(node_id, node)

    def _forget(self, node_id: NodeId) -> None:
        node = self._nodes.pop(node_id, None)
        if node is None:
            return
        self._sources.remove(self._own.pop(node_id))
        self._routes.remove(_host_routes(node))
        for held in self._lists(node):
            held.remove(node.addresses)
        self._v4_hosts -= _v4_count(node)

    def _offer(self, node_id: NodeId, node: Node) -> None:
        """Note what a peer serves now, with `node` or, where it cannot be used, no more."""
        before, now = self._offers.pop(node_id, ()), _offers(node) if node_id in self._nodes else ()
        head, tail = common_ends(before, now, ne)
        for prefix in before[head : len(before) - tail]:
            self._routers[prefix].discard(node_id)
            self._note_offer(node, prefix, there=False)
        for prefix in now[head : len(now) - tail]:
            self._routers[prefix].add(node_id)
            self._note_offer(node, prefix, there=True)
        if now:
            self._offers[node_id] = now

    def _note_offer(self, node: Node, prefix: Prefix, *, there: bool) -> None:
        self._unsure.add(prefix)
        self._offered_changes[OfferedRoute(str(prefix), node.stable_id)] = there
        if not self._routers[prefix]:
            del self._routers[prefix]

    def _lists(self, node: Node) -> list[CountedPrefixes]:
        """Where a peer's addresses are noted besides."""
        lists = [self._holders[capability] for capability in node.cap_map]
        return [*lists, self._jailed] if node.jailed else lists

    def _engine_peer(self, node: Node) -> EnginePeer:
        allowed = tuple(
            prefix for prefix in node.allowed_ips if is_own(node, prefix) or self.serves(node.stable_id, prefix)
        )
        return EnginePeer(node.key, allowed, keepalive_s=WIREGUARD_ONLY_KEEPALIVE_S if node.wireguard_only else 0)


def _offers(node: Node) -> tuple[Prefix, ...]:
    """What a router serves beyond its own addresses; nothing of one that serves no route."""
    beyond = tuple(prefix for prefix in node.allowed_ips if prefix not in node.addresses)
    return beyond if any(not is_own(node, prefix) for prefix in beyond) else ()


def _host_routes(node: Node) -> list[Prefix]:
    """One for all IPv6 hosts: it is there while any of them is."""
    return [prefix if prefix.version == 4 else ULA_V6 for prefix in node.addresses]


def _v4_count(node: Node) -> int:
    return sum(prefix.version == 4 for prefix in node.addresses)


def routing_changed(diff: NetmapDiff) -> bool:
    """Whether a diff touches anything that router or filter are made of; endpoints and presence do not."""
    if diff.full or diff.self_changed or diff.filter_changed or diff.dns_changed or diff.removed:
        return True
    return any(
        node_id not in diff.previous or _routing_view(diff.previous[node_id]) != _routing_view(node)
        for node_id, node in diff.changed.items()
    )


def _routing_view(node: Node) -> tuple[object, ...]:
    return node.addresses, node.allowed_ips, is_usable(node), node.jailed, tuple(node.cap_map)
