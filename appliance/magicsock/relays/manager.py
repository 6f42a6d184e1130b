"""Finds peer relays and proves ways through them, for all peers (magicsock-disco spec 5.2, 5.3, 5.5). No IO, no clock.

A peer's own path machine decides whether a proven relay path is taken: direct beats relay, relay beats DERP. Cost
follows the handshakes under way, never the number of peers.
"""

from __future__ import annotations

from collections.abc import Sequence

from appliance.magicsock.context import PathContext
from appliance.magicsock.outbox import RelayAsked
from appliance.magicsock.peer import PeerPaths
from appliance.magicsock.peers import DiscoSender, PeerTable
from appliance.magicsock.relays.allocation import Allocation
from appliance.magicsock.relays.handshake import Handshake, Step
from appliance.magicsock.relays.timing import (
    ASK_BURST,
    ASK_RATE,
    DISCOVERY_INTERVAL,
    MAX_ASKING_PEERS,
    MAX_HANDSHAKES,
    MIN_CAPABILITY_VERSION,
    UPGRADE_INTERVAL,
)
from appliance.magicsock.scoring import ProvenPath
from appliance.magicsock.timing import NEVER
from appliance.proto.disco import (
    AllocateRelayEndpointRequest,
    AllocateRelayEndpointResponse,
    BindRelayEndpointChallenge,
    CallMeMaybeVia,
    Message,
    Ping,
    Pong,
    RelayEndpoint,
    sender_key,
)
from appliance.proto.geneve import HEADER_SIZE, parse_header
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError
from appliance.types.keys import DiscoPublicKey, NodePublicKey
from appliance.types.token_bucket import TokenBucket

Binding = tuple[DiscoPublicKey, int]
"""A relay's disco key and a VNI of its: two relays may hand out the same number."""
_NOBODY: tuple[PeerPaths, ...] = ()


class RelayManager:
    """`servers` are the node keys of peers that the policy lets us use as relays."""

    def __init__(self, context: PathContext, peers: PeerTable) -> None:
        self._context = context
        self._outbox = context.outbox
        self._peers = peers
        self.servers: frozenset[NodePublicKey] = frozenset()
        self.enabled = True
        self._looked_at: dict[NodePublicKey, float] = {}
        """When a relay was looked for last, by peer."""
        self._allocations: dict[int, Allocation] = {}
        """Requests without an answer, by their number."""
        self._handshakes: dict[Binding, Handshake] = {}
        self._relay_of: dict[NodePublicKey, DiscoPublicKey] = {}
        """The relay by which a peer was proven last."""
        self._askers: dict[NodePublicKey, TokenBucket] = {}
        self._generation = 0

    # What is wanted

    def consider(self, peer: PeerPaths, now: float) -> None:
        """Ask all relays for a meeting place, if the peer needs one and it is time (5.5)."""
        if not self.servers or not self.enabled or not self._wants(peer, now):
            return
        self._looked_at[peer.node.key] = now
        for server in sorted(self.servers, key=lambda key: key.raw):
            if server != peer.node.key and self._ask(server, peer, self._next_generation()):
                self._allocations[self._generation] = Allocation(server, peer.node.key, now)

    def _wants(self, peer: PeerPaths, now: float) -> bool:
        if not peer.usable or not peer.active(now) or peer.node.capability_version < MIN_CAPABILITY_VERSION:
            return False
        trusted = peer.trusted(now)
        if peer.best is not None and peer.best.direct and trusted:
            return False
        since = now - self._looked_at.get(peer.node.key, NEVER)
        if since < (UPGRADE_INTERVAL if trusted else DISCOVERY_INTERVAL):
            return False
        return not self._under_way(peer.node.key)

    def _under_way(self, peer: NodePublicKey) -> bool:
        return any(each.peer == peer for each in self._handshakes.values())

    def _next_generation(self) -> int:
        """Never 0, which means none."""
        self._generation = self._generation % 0xFFFFFFFF + 1
        return self._generation

    def _ask(self, server: NodePublicKey, peer: PeerPaths, generation: int) -> bool:
        if server == self._context.node_key and peer.node.disco_key is not None:
            self._outbox.emit(RelayAsked(server, (self._outbox.keys.public, peer.node.disco_key), generation))
            return True
        relay = self._peers.get(server)
        if relay is None or not relay.usable or relay.node.disco_key is None or peer.node.disco_key is None:
            return False
        if relay.node.capability_version < MIN_CAPABILITY_VERSION:
            return False
        request = AllocateRelayEndpointRequest((self._outbox.keys.public, peer.node.disco_key), generation)
        self._outbox.disco_by_derp(server, relay.node.home_derp, relay.node.disco_key, request)
        self._outbox.count("relay_asked")
        return True

    # By DERP; the receiver has checked that the message is the node's own

    def receive_by_derp(
        self, message: Message, key: DiscoPublicKey, sender: DiscoSender, peer: PeerPaths, now: float
    ) -> bool:
        """Whether it was one of a relay's messages."""
        match message:
            case AllocateRelayEndpointResponse():
                self._allocated(message, peer, now)
            case CallMeMaybeVia():
                self._call_me_maybe_via(message, sender, peer, now)
            case AllocateRelayEndpointRequest():
                self._asked(message, key, peer, now)
            case _:
                return False
        return True

    def _allocated(self, message: AllocateRelayEndpointResponse, server: PeerPaths, now: float) -> None:
        """Whom is it for? The one whom this relay was asked about under this number."""
        self._met(message, server.node.key, now)

    def _met(self, message: AllocateRelayEndpointResponse, server: NodePublicKey, now: float) -> None:
        """`server` offers a meeting place, perhaps ourselves."""
        asked = self._allocations.get(message.generation)
        peer = self._peers.get(asked.peer) if asked is not None else None
        if asked is None or peer is None or asked.server != server:
            return self._outbox.count("relay_answer_unknown")
        if not self._concerns(message.endpoint, peer):
            return self._outbox.count("relay_wrong_pair")
        del self._allocations[message.generation]
        self._tell(peer, message.endpoint)
        self._begin(peer, message.endpoint, now)

    def _concerns(self, endpoint: RelayEndpoint, peer: PeerPaths) -> bool:
        """Whether the endpoint is for us and this peer."""
        return peer.node.disco_key is not None and set(endpoint.clients) == {
            self._outbox.keys.public,
            peer.node.disco_key,
        }

    def _tell(self, peer: PeerPaths, endpoint: RelayEndpoint) -> None:
        """The peer must bind too, also where we start no handshake."""
        if peer.node.disco_key is not None:
            message = CallMeMaybeVia(endpoint)
            self._outbox.disco_by_derp(peer.node.key, peer.node.home_derp, peer.node.disco_key, message)

    def _call_me_maybe_via(self, message: CallMeMaybeVia, sender: DiscoSender, peer: PeerPaths, now: float) -> None:
        if not self.enabled or peer.node.capability_version < MIN_CAPABILITY_VERSION:
            self._outbox.count("relay_not_wanted")
        elif not self._concerns(message.endpoint, peer):
            self._outbox.count("relay_wrong_pair")
        elif not sender.relay_calls.take(now):
            self._outbox.count("relay_call_flood")
        else:
            self._begin(peer, message.endpoint, now)

    def _asked(self, message: AllocateRelayEndpointRequest, key: DiscoPublicKey, peer: PeerPaths, now: float) -> None:
        """A peer wants us as its relay. Whether it may, and where, is decided outside."""
        if key not in message.clients:
            return self._outbox.count("relay_request_for_others")
        if len(self._askers) >= MAX_ASKING_PEERS and peer.node.key not in self._askers:
            self._askers.pop(next(iter(self._askers)))
        if not self._askers.setdefault(peer.node.key, TokenBucket(ASK_RATE, ASK_BURST)).take(now):
            return self._outbox.count("relay_request_flood")
        self._outbox.emit(RelayAsked(peer.node.key, message.clients, message.generation))

    def offer(self, asked: RelayAsked, endpoint: RelayEndpoint, now: float) -> None:
        """What is said to a peer that asked us, or to ourselves."""
        if asked.peer == self._context.node_key:
            return self._met(AllocateRelayEndpointResponse(asked.generation, endpoint), asked.peer, now)
        peer = self._peers.get(asked.peer)
        if peer is not None and peer.node.disco_key is not None:
            message = AllocateRelayEndpointResponse(asked.generation, endpoint)
            self._outbox.disco_by_derp(peer.node.key, peer.node.home_derp, peer.node.disco_key, message)

    # Handshakes

    def _begin(self, peer: PeerPaths, endpoint: RelayEndpoint, now: float) -> None:
        binding = (endpoint.server, endpoint.vni)
        if self._superseded(peer, endpoint) or self._in_use(peer, endpoint, now):
            return
        if sum(each.peer == peer.node.key for each in self._handshakes.values()) >= MAX_HANDSHAKES:
            self._outbox.count("relay_handshakes_full")
            return
        if peer.node.disco_key is None or self._context.node_key is None:
            return
        made = Handshake(peer.node.key, peer.node.disco_key, endpoint, self._next_generation(), now)
        self._handshakes[binding] = made
        made.send(self._context, now)

    def _superseded(self, peer: PeerPaths, endpoint: RelayEndpoint) -> bool:
        """Whether a handshake with this relay runs that is as new; an older one is given up."""
        if (endpoint.server, endpoint.vni) in self._handshakes:
            return True
        for binding, known in tuple(self._handshakes.items()):
            if known.peer == peer.node.key and binding[0] == endpoint.server:
                if known.endpoint.lamport_id >= endpoint.lamport_id:
                    return True
                del self._handshakes[binding]
        return False

    def _in_use(self, peer: PeerPaths, endpoint: RelayEndpoint, now: float) -> bool:
        """A path that works is left alone: another handshake could move its leg."""
        best = peer.best
        same_relay = self._relay_of.get(peer.node.key) == endpoint.server
        return best is not None and same_relay and best.vni == endpoint.vni and peer.trusted(now)

    # By UDP

    def receive(self, packet: bytes, source: AddrPort, now: float) -> Sequence[PeerPaths]:
        """A disco packet in Geneve. Returns the peers that it touched."""
        if self._context.node_key is None:
            self._outbox.count("disco_logged_out")
            return _NOBODY
        try:
            header = parse_header(packet)
            inner = packet[HEADER_SIZE:]
            key = sender_key(inner)
            if header.control:
                return self._challenge(inner, key, header.vni, source, now)
            sender = self._peers.disco_sender(key)
            if sender is None:
                self._outbox.count("disco_unknown_sender")
                return _NOBODY
            _, message = self._outbox.keys.open(inner)
        except DecodeError as error:
            self._outbox.count(f"relay_disco_{error.reason}")
            return _NOBODY
        match message:
            case Ping():
                return self._ping(message, key, sender, header.vni, source, now)
            case Pong():
                return self._pong(message, sender, header.vni, source, now)
            case _:
                self._outbox.count("disco_not_by_udp")
                return _NOBODY

    def _challenge(
        self, inner: bytes, key: DiscoPublicKey, vni: int, source: AddrPort, now: float
    ) -> Sequence[PeerPaths]:
        """Only relays with which a handshake runs are listened to (1.6). Raises `DecodeError`."""
        handshake = self._handshakes.get((key, vni))
        if handshake is None:
            self._outbox.count("relay_challenge_unknown")
            return _NOBODY
        _, message = self._outbox.keys.open(inner)
        if not isinstance(message, BindRelayEndpointChallenge) or not handshake.receive_challenge(
            message, source, self._context, now
        ):
            self._outbox.count("relay_challenge_ignored")
        return _NOBODY

    def _ping(
        self, ping: Ping, key: DiscoPublicKey, sender: DiscoSender, vni: int, source: AddrPort, now: float
    ) -> Sequence[PeerPaths]:
        if not sender.first_sight(ping.tx_id) or not sender.pings.take(now):
            self._outbox.count("relay_ping_refused")
            return _NOBODY
        if not self._context.acceptable(source):
            self._outbox.count("disco_bad_source")
            return _NOBODY
        self._outbox.disco_via(source, vni, key, Pong(ping.tx_id, source))
        for handshake in self._with(sender, vni):
            if handshake.step is Step.ANSWER_SENT:
                handshake.ping(self._context, now)
        return tuple(sender.nodes.values())

    def _with(self, sender: DiscoSender, vni: int) -> tuple[Handshake, ...]:
        return tuple(
            each for (_, number), each in self._handshakes.items() if number == vni and each.peer in sender.nodes
        )

    def _pong(self, pong: Pong, sender: DiscoSender, vni: int, source: AddrPort, now: float) -> Sequence[PeerPaths]:
        for handshake in self._with(sender, vni):
            sent_at = handshake.pings.get(pong.tx_id)
            if sent_at is not None and handshake.address == source:
                return self._done(handshake, sent_at, sender, now)
        for peer in sender.nodes.values():
            if peer.receive_pong(pong, now, vni=vni):
                return (peer,)
        self._outbox.count("disco_pong_unknown")
        return _NOBODY

    def _done(self, handshake: Handshake, sent_at: float, sender: DiscoSender, now: float) -> Sequence[PeerPaths]:
        endpoint, peer = handshake.endpoint, sender.nodes[handshake.peer]
        assert handshake.address is not None
        del self._handshakes[endpoint.server, endpoint.vni]
        same_relay = self._relay_of.get(peer.node.key) == endpoint.server
        path = ProvenPath(handshake.address, max(0.0, now - sent_at), vni=endpoint.vni)
        if peer.relay_proven(path, now, same_relay=same_relay):
            self._relay_of[peer.node.key] = endpoint.server
        self._outbox.count("relay_proven")
        return (peer,)

    # End and time

    def forget(self, peer: NodePublicKey) -> None:
        """The peer left, or has another disco key."""
        self._looked_at.pop(peer, None)
        self._relay_of.pop(peer, None)
        self._askers.pop(peer, None)
        for binding in [binding for binding, each in self._handshakes.items() if each.peer == peer]:
            del self._handshakes[binding]
        for number in [number for number, each in self._allocations.items() if peer in (each.peer, each.server)]:
            del self._allocations[number]

    def reset(self) -> None:
        """Our own network changed: everything begins anew."""
        self._looked_at.clear()
        self._allocations.clear()
        self._relay_of.clear()
        self._handshakes.clear()

    def next_timer(self) -> float | None:
        """When `handle_timer` has work, None = never."""
        due = [each.next_at for each in self._handshakes.values()]
        due += [each.next_at for each in self._allocations.values()]
        return min(due, default=None)

    def handle_timer(self, now: float) -> None:
        """Repeat what got no answer, give up what got none for too long."""
        for binding, handshake in tuple(self._handshakes.items()):
            if now >= handshake.deadline:
                del self._handshakes[binding]
                self._outbox.count("relay_handshake_failed")
            elif now >= handshake.next_at:
                handshake.send(self._context, now)
        for number, asked in tuple(self._allocations.items()):
            if now >= asked.next_at:
                self._ask_again(number, asked)

    def _ask_again(self, number: int, asked: Allocation) -> None:
        peer = self._peers.get(asked.peer)
        if asked.again or peer is None or not self._ask(asked.server, peer, number):
            del self._allocations[number]
            self._outbox.count("relay_gave_no_answer")
        else:
            asked.again = True
