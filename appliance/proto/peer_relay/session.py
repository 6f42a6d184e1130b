"""One allocation of a relay: two clients, each with at most one address that proved itself (spec 5.3, 5.4)."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.types.addresses import AddrPort
from appliance.types.keys import DiscoPublicKey
from appliance.types.token_bucket import TokenBucket

BIND_LIFETIME_S = 30.0
STEADY_LIFETIME_S = 300.0

LEAST_BURST_BYTES = 128 * 1024
HANDSHAKES_A_SECOND = 20.0
HANDSHAKE_BURST = 40.0
"""Own: opened handshake messages of one session; each costs a Diffie-Hellman step at most once and a box."""


@dataclass(slots=True)
class Leg:
    """A client's side. `generation` is that of its handshake in progress, 0 = none."""

    key: DiscoPublicKey
    bound: AddrPort | None = None
    last_seen: float = 0.0
    generation: int = 0


class Session:
    """`legs` are in the order of their keys. `owner` names the node that asked for the allocation."""

    __slots__ = (
        "_handshakes",
        "_room",
        "_room_at",
        "allocated_at",
        "bytes",
        "lamport_id",
        "legs",
        "owner",
        "packets",
        "vni",
    )

    def __init__(
        self, vni: int, lamport_id: int, owner: str, clients: tuple[DiscoPublicKey, DiscoPublicKey], now: float
    ) -> None:
        first, second = sorted(clients)
        self.vni = vni
        self.lamport_id = lamport_id
        self.owner = owner
        self.legs = (Leg(first), Leg(second))
        self.allocated_at = now
        self.packets = 0
        self.bytes = 0
        self._handshakes = TokenBucket(HANDSHAKES_A_SECOND, HANDSHAKE_BURST)
        self._room = 0.0
        self._room_at = float("-inf")

    @property
    def clients(self) -> tuple[DiscoPublicKey, DiscoPublicKey]:
        return self.legs[0].key, self.legs[1].key

    @property
    def is_open(self) -> bool:
        """Whether both sides are bound."""
        return self.legs[0].bound is not None and self.legs[1].bound is not None

    def leg_of(self, key: DiscoPublicKey) -> tuple[Leg, Leg] | None:
        """The leg of this key and the other one; None for a stranger."""
        first, second = self.legs
        if key == first.key:
            return first, second
        return (second, first) if key == second.key else None

    def toward(self, source: AddrPort, now: float) -> AddrPort | None:
        """Where packets of `source` go; None while not both sides are bound, and for any other source."""
        first, second = self.legs
        if first.bound is None or second.bound is None:
            return None
        if source == first.bound:
            first.last_seen = now
            return second.bound
        if source == second.bound:
            second.last_seen = now
            return first.bound
        return None

    def has_room(self, size: int, bytes_per_s: int, now: float) -> bool:
        """Whether so many bytes more fit into the pair's rate; a quarter of a second may come at once."""
        burst = max(bytes_per_s / 4, LEAST_BURST_BYTES)
        self._room = min(burst, self._room + min(now - self._room_at, 1.0) * bytes_per_s)
        self._room_at = now
        if size > self._room:
            return False
        self._room -= size
        return True

    def may_shake_hands(self, now: float) -> bool:
        """Whether one more handshake message may be opened now."""
        return self._handshakes.take(now)

    def is_over(self, now: float) -> bool:
        """Not bound in time, or one side silent for too long."""
        if not self.is_open:
            return now - self.allocated_at > BIND_LIFETIME_S
        return any(now - leg.last_seen > STEADY_LIFETIME_S for leg in self.legs)
