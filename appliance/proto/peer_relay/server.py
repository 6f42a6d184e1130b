"""The relay's table of sessions as a sans-IO machine (magicsock-disco spec 5.2 to 5.4). `now` is monotonic seconds.

Nothing is answered with more bytes than came, and nothing is forwarded before both sides have proven their addresses.
What is wrong is dropped silently and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from appliance.crypto.box import NONCE_SIZE
from appliance.crypto.x25519 import clamp
from appliance.proto.disco import (
    BindRelayEndpoint,
    BindRelayEndpointAnswer,
    BindRelayEndpointChallenge,
    DiscoKeys,
    sender_key,
)
from appliance.proto.geneve import HEADER_SIZE, MAX_VNI, PROTOCOL_DISCO, GeneveHeader, encode_header
from appliance.proto.peer_relay.challenge import ChallengeMaker
from appliance.proto.peer_relay.session import Leg, Session
from appliance.types.addresses import AddrPort
from appliance.types.errors import DecodeError
from appliance.types.keys import DiscoPrivateKey, DiscoPublicKey

HANDSHAKE_SIZE = 160
"""Geneve header 8, disco header 62, tag 16, message 74: all three messages of the handshake."""
EXPIRY_INTERVAL_S = 30.0


class Randomness(Protocol):
    def bytes(self, count: int) -> bytes: ...


class Refusal(StrEnum):
    """Why there is no allocation."""

    OWN_KEY = "own_key"
    SAME_KEY = "same_key"
    LOW_ORDER_KEY = "low_order_key"
    FULL = "full"
    TOO_MANY = "too_many"


@dataclass(frozen=True, slots=True)
class Limits:
    """Sessions in all, those of one node that asked for them, and bytes a second of one session; 0 = any."""

    sessions: int = 1024
    sessions_per_owner: int = 128
    bytes_per_s: int = 0


class RelayServer:
    """Its key pair is new at each start: what clients know of an earlier run is void (spec 5)."""

    def __init__(self, randomness: Randomness, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.counters: Counter[str] = Counter()
        self._randomness = randomness
        self._keys = DiscoKeys(DiscoPrivateKey(clamp(randomness.bytes(32))))
        self._challenges = ChallengeMaker(randomness.bytes)
        self._by_vni: dict[int, Session] = {}
        self._by_pair: dict[tuple[DiscoPublicKey, DiscoPublicKey], Session] = {}
        self._owned: Counter[str] = Counter()
        self._known_by: Counter[DiscoPublicKey] = Counter()
        self._bound: Counter[AddrPort] = Counter()
        self._last_vni = 0
        self._lamport_id = 0
        self._next_expiry: float | None = None

    @property
    def public_key(self) -> DiscoPublicKey:
        return self._keys.public

    def __len__(self) -> int:
        return len(self._by_vni)

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._by_vni.values()))

    # Allocation

    def allocate(self, owner: str, clients: tuple[DiscoPublicKey, DiscoPublicKey], now: float) -> Session | Refusal:
        """The session of this pair, made when there is none. The caller has checked that `owner` may."""
        first, second = sorted(clients)
        known = self._by_pair.get((first, second))
        if known is not None:
            return known
        refusal = self._refusal(owner, (first, second))
        if refusal is not None:
            self.counters[f"refused_{refusal}"] += 1
            return refusal
        self._lamport_id += 1
        session = Session(self._free_vni(), self._lamport_id, owner, (first, second), now)
        self._by_vni[session.vni] = self._by_pair[first, second] = session
        self._owned[owner] += 1
        self._known_by.update((first, second))
        if self._next_expiry is None:
            self._next_expiry = now + EXPIRY_INTERVAL_S
        self.counters["allocated"] += 1
        return session

    def _refusal(self, owner: str, clients: tuple[DiscoPublicKey, DiscoPublicKey]) -> Refusal | None:
        if self.public_key in clients:
            return Refusal.OWN_KEY
        if clients[0] == clients[1]:
            return Refusal.SAME_KEY
        if len(self._by_vni) >= self.limits.sessions:
            return Refusal.FULL
        if self._owned[owner] >= self.limits.sessions_per_owner:
            return Refusal.TOO_MANY
        try:
            for key in clients:
                self._keys.shared(key)
        except DecodeError:
            return Refusal.LOW_ORDER_KEY
        return None

    def _free_vni(self) -> int:
        """Sequential, wrapping; there are far fewer sessions than numbers."""
        while True:
            self._last_vni = self._last_vni % MAX_VNI + 1
            if self._last_vni not in self._by_vni:
                return self._last_vni

    # Packets

    def session(self, vni: int) -> Session | None:
        return self._by_vni.get(vni)

    def is_bound(self, source: AddrPort) -> bool:
        """Whether somebody has proven this address in any session."""
        return source in self._bound

    def receive_handshake(self, vni: int, packet: bytes, source: AddrPort, now: float) -> bytes | None:
        """A packet with the control bit, its Geneve header included; the answer to its source, if there is one."""
        session = self._by_vni.get(vni)
        if session is None:
            return self._drop("unknown_vni")
        if len(packet) < HANDSHAKE_SIZE:
            return self._drop("short_handshake")
        try:
            legs = session.leg_of(sender_key(packet[HEADER_SIZE:]))
            if legs is None:
                return self._drop("unknown_sender")
            if not session.may_shake_hands(now):
                return self._drop("handshake_flood")
            _, message = self._keys.open(packet[HEADER_SIZE:])
        except DecodeError as error:
            return self._drop(f"handshake_{error.reason}")
        if not isinstance(message, BindRelayEndpoint | BindRelayEndpointAnswer):
            return self._drop("not_a_handshake")
        leg, other = legs
        if (message.vni, message.remote) != (vni, other.key) or not message.generation:
            return self._drop("wrong_handshake")
        if isinstance(message, BindRelayEndpoint):
            return self._challenge(leg, message, source, now)
        return self._bind(leg, message, source, now)

    def _challenge(self, leg: Leg, message: BindRelayEndpoint, source: AddrPort, now: float) -> bytes:
        leg.generation = message.generation
        challenge = self._challenges.make(message.vni, message.generation, message.remote, source, now)
        answer = BindRelayEndpointChallenge(message.vni, message.generation, message.remote, challenge)
        header = encode_header(GeneveHeader(PROTOCOL_DISCO, message.vni, control=True))
        self.counters["challenged"] += 1
        return header + self._keys.seal(leg.key, answer, self._randomness.bytes(NONCE_SIZE))

    def _bind(self, leg: Leg, message: BindRelayEndpointAnswer, source: AddrPort, now: float) -> bytes | None:
        if message.generation != leg.generation:
            return self._drop("old_answer")
        if not self._challenges.verify(message.challenge, message.vni, message.generation, message.remote, source, now):
            return self._drop("wrong_answer")
        self._unbind(leg)
        leg.bound = source
        self._bound[source] += 1
        leg.last_seen = now
        leg.generation = 0
        self.counters["bound"] += 1
        return None

    def _unbind(self, leg: Leg) -> None:
        if leg.bound is not None:
            self._bound[leg.bound] -= 1
            if not self._bound[leg.bound]:
                del self._bound[leg.bound]

    def _drop(self, reason: str) -> bytes | None:
        """No answer to anything that is wrong."""
        self.counters[f"dropped_{reason}"] += 1
        return None

    # End

    def close_owned(self, owner: str) -> int:
        """End the sessions that this node asked for: it may no longer. How many there were."""
        found = [session for session in self._by_vni.values() if session.owner == owner]
        for session in found:
            self._end(session, "closed")
        return len(found)

    def owners(self) -> frozenset[str]:
        """Nodes that have sessions."""
        return frozenset(self._owned)

    def next_timer(self) -> float | None:
        return self._next_expiry

    def handle_timer(self, now: float) -> None:
        """End what is over; looked at every `EXPIRY_INTERVAL_S`."""
        if self._next_expiry is None or now < self._next_expiry:
            return
        for session in [each for each in self._by_vni.values() if each.is_over(now)]:
            self._end(session, "expired")
        self._next_expiry = now + EXPIRY_INTERVAL_S if self._by_vni else None

    def _end(self, session: Session, why: str) -> None:
        del self._by_vni[session.vni]
        del self._by_pair[session.clients]
        self._owned[session.owner] -= 1
        if not self._owned[session.owner]:
            del self._owned[session.owner]
        for leg in session.legs:
            self._unbind(leg)
        for key in session.clients:
            self._known_by[key] -= 1
            if not self._known_by[key]:
                del self._known_by[key]
                self._keys.forget(key)
        self.counters[why] += 1
