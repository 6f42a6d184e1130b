"""Disco coming in: who sent it, is it allowed, whom does it concern (magicsock-disco spec 1.6, 3.6 to 3.8).

Whatever is wrong becomes a counter. A sender outside the netmap costs one look-up.
"""

from __future__ import annotations

from collections.abc import Sequence

from appliance.magicsock.context import PathContext
from appliance.magicsock.peer import PeerPaths
from appliance.magicsock.peers import DiscoSender, PeerTable
from appliance.magicsock.relays.manager import RelayManager
from appliance.proto.disco import CallMeMaybe, HardNat, Message, Ping, Pong, sender_key
from appliance.types.addresses import DERP_MAGIC_V4, AddrPort
from appliance.types.errors import DecodeError
from appliance.types.ids import RegionId
from appliance.types.keys import DiscoPublicKey, NodePublicKey

_NOBODY: tuple[PeerPaths, ...] = ()


class DiscoReceiver:
    def __init__(self, context: PathContext, peers: PeerTable, relays: RelayManager) -> None:
        self._context = context
        self._outbox = context.outbox
        self._peers = peers
        self._relays = relays

    def receive(self, packet: bytes, source: AddrPort, now: float, socket: int = 0) -> Sequence[PeerPaths]:
        """A disco packet by UDP, on that side socket (0: the main one). Returns the peers that it touched."""
        opened = self._open(packet)
        if opened is None:
            return _NOBODY
        key, sender, message = opened
        match message:
            case Ping():
                return self._ping(message, key, sender, source, now, socket)
            case Pong():
                return self._pong(message, sender, now)
            case _:
                self._outbox.count("disco_not_by_udp")
                return _NOBODY

    def receive_by_derp(self, packet: bytes, region: RegionId, node: NodePublicKey, now: float) -> Sequence[PeerPaths]:
        """A disco packet that `node` sent through `region`; its key must be that node's disco key."""
        opened = self._open(packet)
        if opened is None:
            return _NOBODY
        key, sender, message = opened
        peer = sender.nodes.get(node)
        if peer is None:
            self._outbox.count("disco_wrong_node")
            return _NOBODY
        peer.heard_by_derp(region, now)
        match message:
            case Ping():
                self._ping_by_derp(message, key, sender, peer, region, now)
            case Pong():
                if not peer.receive_pong(message, now, by_derp=True):
                    self._outbox.count("disco_pong_unknown")
            case CallMeMaybe():
                self._call_me_maybe(message, sender, peer, now)
            case HardNat():
                if sender.call_me_maybes.take(now):
                    self._context.hard_nat_words.append((node, message))
            case _ if not self._relays.receive_by_derp(message, key, sender, peer, now):
                self._outbox.count("disco_ignored")
        return (peer,)

    def _open(self, packet: bytes) -> tuple[DiscoPublicKey, DiscoSender, Message] | None:
        if self._context.node_key is None:
            self._outbox.count("disco_logged_out")
            return None
        try:
            key = sender_key(packet)
            sender = self._peers.disco_sender(key)
            if sender is None:
                self._outbox.count("disco_unknown_sender")
                return None
            _, message = self._outbox.keys.open(packet)
        except DecodeError as error:
            self._outbox.count(f"disco_{error.reason}")
            return None
        return key, sender, message

    def _may_answer(self, ping: Ping, sender: DiscoSender, now: float) -> bool:
        if not sender.first_sight(ping.tx_id):
            self._outbox.count("disco_ping_again")
            return False
        if not sender.pings.take(now):
            self._outbox.count("disco_ping_flood")
            return False
        return True

    def _ping(
        self, ping: Ping, key: DiscoPublicKey, sender: DiscoSender, source: AddrPort, now: float, socket: int
    ) -> Sequence[PeerPaths]:
        if not self._may_answer(ping, sender, now):
            return _NOBODY
        if not self._context.acceptable(source):
            self._outbox.count("disco_bad_source")
            return _NOBODY
        self._outbox.disco(source, key, Pong(ping.tx_id, source), socket)
        touched = tuple(sender.nodes.values())
        for peer in touched:
            if socket:
                self._context.side_pings.append((peer.node.key, source, socket))
            else:
                peer.receive_ping(source, now)
        return touched

    def _ping_by_derp(
        self, ping: Ping, key: DiscoPublicKey, sender: DiscoSender, peer: PeerPaths, region: RegionId, now: float
    ) -> None:
        if self._may_answer(ping, sender, now):
            seen_as = AddrPort(str(DERP_MAGIC_V4), region)
            self._outbox.disco_by_derp(peer.node.key, peer.node.home_derp, key, Pong(ping.tx_id, seen_as))

    def _pong(self, pong: Pong, sender: DiscoSender, now: float) -> Sequence[PeerPaths]:
        for peer in sender.nodes.values():
            if peer.receive_pong(pong, now):
                return (peer,)
        self._outbox.count("disco_pong_unknown")
        return _NOBODY

    def _call_me_maybe(self, message: CallMeMaybe, sender: DiscoSender, peer: PeerPaths, now: float) -> None:
        if sender.call_me_maybes.take(now):
            peer.receive_call_me_maybe(message, now)
        else:
            self._outbox.count("disco_call_me_maybe_flood")
