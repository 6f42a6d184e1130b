"""The peers of the netmap, found by node key and by disco key; cost follows the change, never the number of peers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace

from appliance.magicsock.context import PathContext, single_overlay_addresses
from appliance.magicsock.peer import PeerPaths
from appliance.magicsock.timing import (
    CALL_ME_MAYBE_BURST,
    CALL_ME_MAYBE_RATE,
    MAX_SEEN_PINGS,
    PING_BURST,
    PING_RATE,
    TELL_BURST,
    TELL_RATE,
)
from appliance.types.keys import DiscoPublicKey, NodePublicKey
from appliance.types.netmap import NetmapDiff, Node
from appliance.types.token_bucket import TokenBucket


class DiscoSender:
    """The nodes that have a disco key (mostly one, 1.1), and what it may still ask of us."""

    __slots__ = ("_seen", "call_me_maybes", "nodes", "pings", "relay_calls")

    def __init__(self) -> None:
        self.nodes: dict[NodePublicKey, PeerPaths] = {}
        self.pings = TokenBucket(PING_RATE, PING_BURST)
        self.call_me_maybes = TokenBucket(CALL_ME_MAYBE_RATE, CALL_ME_MAYBE_BURST)
        self.relay_calls = TokenBucket(CALL_ME_MAYBE_RATE, CALL_ME_MAYBE_BURST)
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def first_sight(self, tx_id: bytes) -> bool:
        """False for a ping that came before: delivered twice, or replayed."""
        if tx_id in self._seen:
            return False
        self._seen[tx_id] = None
        if len(self._seen) > MAX_SEEN_PINGS:
            self._seen.popitem(last=False)
        return True


class PeerTable:
    def __init__(self, context: PathContext) -> None:
        self._context = context
        self._by_node: dict[NodePublicKey, PeerPaths] = {}
        self._by_disco: dict[DiscoPublicKey, DiscoSender] = {}
        self._learned: dict[NodePublicKey, tuple[DiscoPublicKey | None, DiscoPublicKey]] = {}
        """Disco keys that peers told themselves, each with what control said until then."""
        self._tells: dict[NodePublicKey, TokenBucket] = {}

    def __len__(self) -> int:
        return len(self._by_node)

    def __iter__(self) -> Iterator[PeerPaths]:
        return iter(tuple(self._by_node.values()))

    def get(self, key: NodePublicKey) -> PeerPaths | None:
        return self._by_node.get(key)

    def disco_sender(self, key: DiscoPublicKey) -> DiscoSender | None:
        return self._by_disco.get(key)

    def apply(self, diff: NetmapDiff, now: float) -> list[NodePublicKey]:
        """Take over what the diff names; returns the keys of the peers that changed or went."""
        touched: list[NodePublicKey] = []
        for node in diff.removed.values():
            touched.append(node.key)
            self._remove(node.key)
        for node_id, node in diff.changed.items():
            previous = diff.previous.get(node_id)
            if previous is not None and previous.key != node.key:
                touched.append(previous.key)
                self._remove(previous.key)
            touched.append(node.key)
            self._upsert(self._with_learned_key(node), now)
        return touched

    def learn(self, key: NodePublicKey, disco_key: DiscoPublicKey, now: float) -> bool:
        """The peer told its disco key through its own tunnel; it stands until control names another (1.8).

        False: nobody known, nothing new, or too often.
        """
        peer = self._by_node.get(key)
        if peer is None or peer.node.wireguard_only or peer.node.disco_key == disco_key:
            return False
        if not self._tells.setdefault(key, TokenBucket(TELL_RATE, TELL_BURST)).take(now):
            self._context.outbox.count("disco_key_flood")
            return False
        by_control = self._learned[key][0] if key in self._learned else peer.node.disco_key
        self._learned[key] = (by_control, disco_key)
        self._upsert(replace(peer.node, disco_key=disco_key), now)
        return True

    def _with_learned_key(self, node: Node) -> Node:
        """Control may still tell the former key; a key that is new to it is the newer word."""
        learned = self._learned.get(node.key)
        if learned is None:
            return node
        if node.disco_key == learned[0]:
            return replace(node, disco_key=learned[1])
        del self._learned[node.key]
        return node

    def _upsert(self, node: Node, now: float) -> None:
        peer = self._by_node.get(node.key)
        if peer is None:
            self._context.add_overlay(single_overlay_addresses(node))
            peer = self._by_node[node.key] = PeerPaths(node, self._context, now)
        else:
            self._context.remove_overlay(single_overlay_addresses(peer.node))
            self._context.add_overlay(single_overlay_addresses(node))
            if peer.node.disco_key != node.disco_key:
                self._unlink(peer)
            peer.update(node, now)
        if node.disco_key is not None:
            self._by_disco.setdefault(node.disco_key, DiscoSender()).nodes[node.key] = peer

    def _remove(self, key: NodePublicKey) -> None:
        peer = self._by_node.pop(key, None)
        self._learned.pop(key, None)
        self._tells.pop(key, None)
        if peer is not None:
            self._context.remove_overlay(single_overlay_addresses(peer.node))
            self._unlink(peer)
            peer.remove()

    def _unlink(self, peer: PeerPaths) -> None:
        disco_key = peer.node.disco_key
        sender = self._by_disco.get(disco_key) if disco_key is not None else None
        if disco_key is None or sender is None:
            return
        sender.nodes.pop(peer.node.key, None)
        if not sender.nodes:
            del self._by_disco[disco_key]
            self._context.outbox.keys.forget(disco_key)
