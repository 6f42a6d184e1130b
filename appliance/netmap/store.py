"""The netmap: one owner applies map responses, everybody else reads.

`NetmapStore.apply` costs what the message names, whatever the size of the mesh; only a full map costs as much as it
holds. `NetmapView` is live and read-only: keep it, and touch only what a `NetmapDiff` names.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

from appliance.netmap.server_time import ServerTime
from appliance.proto.control import convert
from appliance.proto.control.delta import Applied, MapSessionMark, WireNetmap
from appliance.proto.control.messages import MapResponse, parse_time
from appliance.proto.control.packet_filter import PacketFilterReader
from appliance.types.addresses import Address, is_single
from appliance.types.errors import DecodeError
from appliance.types.ids import NO_REGION, NodeId, StableNodeId, UserId
from appliance.types.keys import NodePublicKey
from appliance.types.netmap import DerpMap, DnsConfig, FilterRule, NetmapDiff, Node, UserProfile

STEP_NODES = 100
"""Nodes looked at between two steps of `NetmapStore.steps`: some milliseconds."""


class NetmapView:
    """What this node knows. All of it is read-only; mappings are live."""

    def __init__(self) -> None:
        self._self_node: Node | None = None
        self._peers: dict[NodeId, Node] = {}
        self._users: dict[UserId, UserProfile] = {}
        self._by_key: dict[NodePublicKey, NodeId] = {}
        self._by_address: dict[Address, NodeId] = {}
        self._by_stable_id: dict[StableNodeId, NodeId] = {}
        self._derp_map = DerpMap()
        self._dns = DnsConfig()
        self._filter: tuple[FilterRule, ...] = ()
        self._filter_capabilities: frozenset[str] = frozenset()
        self._domain = ""
        self._messages: tuple[str, ...] = ()
        self.peers: Mapping[NodeId, Node] = MappingProxyType(self._peers)
        self.users: Mapping[UserId, UserProfile] = MappingProxyType(self._users)

    @property
    def self_node(self) -> Node | None:
        """None before the first map."""
        return self._self_node

    @property
    def derp_map(self) -> DerpMap:
        return self._derp_map

    @property
    def dns(self) -> DnsConfig:
        return self._dns

    @property
    def filter_rules(self) -> tuple[FilterRule, ...]:
        """The effective packet filter; empty = deny all inbound."""
        return self._filter

    @property
    def filter_capabilities(self) -> frozenset[str]:
        """Node capabilities that rules of the packet filter name as their sources."""
        return self._filter_capabilities

    @property
    def domain(self) -> str:
        """Name of the tailnet."""
        return self._domain

    @property
    def control_messages(self) -> tuple[str, ...]:
        """What the control server says is wrong, one line each."""
        return self._messages

    def peer_by_key(self, key: NodePublicKey) -> Node | None:
        return self._find(self._by_key.get(key))

    def peer_by_address(self, address: Address) -> Node | None:
        """The peer that owns the overlay address."""
        return self._find(self._by_address.get(address))

    def peer_by_stable_id(self, stable_id: StableNodeId) -> Node | None:
        return self._find(self._by_stable_id.get(stable_id))

    def _find(self, node_id: NodeId | None) -> Node | None:
        return None if node_id is None else self._peers.get(node_id)


class NetmapStore(NetmapView):
    """The owner's side."""

    def __init__(self) -> None:
        super().__init__()
        self._wire = WireNetmap()
        self._filter_reader = PacketFilterReader()
        self._expiries: list[tuple[datetime, NodeId]] = []
        self.time = ServerTime()
        self.dropped = 0
        """Entries of map responses that were refused."""

    @property
    def view(self) -> NetmapView:
        return self

    def begin_stream(self) -> None:
        """A new map stream begins; what is known stays in use until its first message."""
        self._wire.begin_stream()

    @property
    def session(self) -> MapSessionMark:
        """What a request for the next stream may resume."""
        return self._wire.session

    def apply(self, response: MapResponse, wall_now: datetime) -> NetmapDiff:
        """Apply one message. Raises `DecodeError` when it cannot be one of this stream's; the stream is to be ended."""
        steps = self.steps(response, wall_now)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                diff: NetmapDiff = end.value
                return diff

    def steps(self, response: MapResponse, wall_now: datetime) -> Generator[None, None, NetmapDiff]:
        """`apply` in pieces, as a full map would hold up the event loop; readers see the old netmap until its end.

        The caller finishes one message before it begins the next. Raises `DecodeError` like `apply`.
        """
        self._note_time(response, wall_now)
        applied = self._wire.apply(response, wall_now)
        if applied.keep_alive:
            return self.expire(wall_now)
        self.dropped += applied.dropped
        # There is nothing to resume until all of the message is in.
        mark, self._wire.session = self._wire.session, MapSessionMark()
        nodes = yield from self._converted(applied)
        changed, previous, removed = self._apply_peers(applied, nodes, wall_now)
        self_changed = self._apply_self(applied)
        self._apply_rest(applied)
        self._wire.session = mark
        return NetmapDiff(
            full=applied.full,
            self_changed=self_changed,
            changed=MappingProxyType(changed),
            previous=MappingProxyType(previous),
            removed=MappingProxyType(removed),
            derp_map_changed=applied.derp_map,
            dns_changed=applied.dns_config,
            filter_changed=applied.packet_filter,
            users_changed=bool(applied.users),
        )

    def expire(self, wall_now: datetime) -> NetmapDiff:
        """Cut off peers whose key has expired by now; call it from time to time."""
        now = self.server_now(wall_now)
        changed: dict[NodeId, Node] = {}
        previous: dict[NodeId, Node] = {}
        while self._expiries and self._expiries[0][0] <= now:
            _, node_id = heapq.heappop(self._expiries)
            peer = self._peers.get(node_id)
            if peer is not None and not peer.expired and peer.key_expiry is not None and peer.key_expiry <= now:
                previous[node_id], changed[node_id] = peer, _cut_off(peer)
                self._peers[node_id] = changed[node_id]
        return NetmapDiff(changed=MappingProxyType(changed), previous=MappingProxyType(previous))

    def server_now(self, wall_now: datetime) -> datetime:
        """The server's clock as far as it is known."""
        return self.time.now(wall_now)

    def everything(self) -> NetmapDiff:
        """All that is known as the diff to nothing."""
        return NetmapDiff(
            full=True,
            self_changed=self._self_node is not None,
            changed=MappingProxyType(dict(self._peers)),
            derp_map_changed=True,
            dns_changed=True,
            filter_changed=True,
            users_changed=True,
        )

    def snapshot(self) -> MapResponse:
        """All that is known as one full map, which must be encoded before the next change."""
        return self._wire.snapshot()

    def _note_time(self, response: MapResponse, wall_now: datetime) -> None:
        try:
            server = parse_time(response.control_time)
        except DecodeError:
            return
        if server is not None:
            self.time.note(server, wall_now)

    # --- peers

    def _converted(self, applied: Applied) -> Generator[None, None, dict[NodeId, Node | None]]:
        """What was added or changed, by id; None for what is unusable."""
        nodes: dict[NodeId, Node | None] = {}
        for count, number in enumerate(sorted(applied.added | applied.changed), 1):
            try:
                nodes[NodeId(number)] = convert.node(self._wire.peers[number])
            except DecodeError:
                nodes[NodeId(number)] = None
            if count % STEP_NODES == 0:
                yield
        return nodes

    def _apply_peers(
        self, applied: Applied, nodes: Mapping[NodeId, Node | None], wall_now: datetime
    ) -> tuple[dict[NodeId, Node], dict[NodeId, Node], dict[NodeId, Node]]:
        changed: dict[NodeId, Node] = {}
        previous: dict[NodeId, Node] = {}
        removed: dict[NodeId, Node] = {}
        former = dict(self._peers) if applied.full else {}
        now = self.server_now(wall_now)
        # Ids and keys may move between nodes in one message: what goes, goes first.
        for number in applied.removed:
            self._take_out(NodeId(number), removed)
        for node_id, converted in nodes.items():
            if converted is None:
                self.dropped += 1
                self._take_out(node_id, removed)
                continue
            cut = converted.expired or (converted.key_expiry is not None and converted.key_expiry <= now)
            node = _cut_off(converted) if cut else converted
            known = self._peers.get(node_id)
            if known is not None:
                node = _with_known_disco(node, known)
            if known == node:
                continue
            if known is not None:
                previous[node_id] = known
                self._forget_index(known)
            changed[node_id] = node
            self._put_in(node)
        if applied.full:  # receivers begin anew: they get every peer, and the old form of each that was known
            changed = dict(self._peers)
            previous = {node_id: node for node_id, node in former.items() if node_id in changed}
        return changed, previous, removed

    def _put_in(self, node: Node) -> None:
        self._peers[node.id] = node
        self._by_key[node.key] = node.id
        self._by_stable_id[node.stable_id] = node.id
        for address in _own_addresses(node):
            self._by_address[address] = node.id
        if node.key_expiry is not None and not node.expired:
            heapq.heappush(self._expiries, (node.key_expiry, node.id))

    def _take_out(self, node_id: NodeId, removed: dict[NodeId, Node]) -> None:
        node = self._peers.pop(node_id, None)
        if node is not None:
            removed[node_id] = node
            self._forget_index(node)

    def _forget_index(self, node: Node) -> None:
        """Only what still points to this node: another may have taken its key or address over."""
        if self._by_key.get(node.key) == node.id:
            del self._by_key[node.key]
        if self._by_stable_id.get(node.stable_id) == node.id:
            del self._by_stable_id[node.stable_id]
        for address in _own_addresses(node):
            if self._by_address.get(address) == node.id:
                del self._by_address[address]

    # --- the rest

    def _apply_self(self, applied: Applied) -> bool:
        if not applied.node or self._wire.node is None:
            return False
        node = convert.node(self._wire.node)
        same = node == self._self_node
        self._self_node = node
        return applied.full or not same

    def _apply_rest(self, applied: Applied) -> None:
        if applied.full:
            self._users.clear()
        for number in applied.users:
            try:
                profile = convert.user_profile(self._wire.users[number])
            except DecodeError:
                self.dropped += 1
                continue
            self._users[profile.id] = profile
        if applied.derp_map:
            self._derp_map = convert.derp_map(self._wire.derp_map)
        if applied.dns_config:
            self._dns = convert.dns_config(self._wire.dns_config)
        if applied.packet_filter:
            self._filter = self._filter_reader.read(self._wire.packet_filter())
            self._filter_capabilities = self._filter_reader.capabilities
        self._domain = self._wire.domain
        if applied.health:
            shown = [message.text or message.title for message in self._wire.display_messages.values()]
            self._messages = tuple((*self._wire.health, *shown))


def _with_known_disco(node: Node, known: Node) -> Node:
    """A control server that lost its memory must not end the session of a peer that we know: same key, same peer."""
    told = node.disco_key is not None or node.wireguard_only or node.expired
    if told or known.disco_key is None or known.key != node.key:
        return node
    return replace(
        node,
        disco_key=known.disco_key,
        endpoints=node.endpoints or known.endpoints,
        home_derp=node.home_derp or known.home_derp,
    )


def _cut_off(node: Node) -> Node:
    """An expired peer: known, but without a way to it (control-protocol spec section 11)."""
    return replace(node, expired=True, endpoints=(), home_derp=NO_REGION)


def _own_addresses(node: Node) -> Iterable[Address]:
    return (prefix.network_address for prefix in node.addresses if is_single(prefix))
