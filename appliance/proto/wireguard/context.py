"""What the sessions of one tunnel share: identity, settings, indices, and the way out for messages and events."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from appliance.proto.wireguard.cipher import CipherFactory, PythonCipher
from appliance.proto.wireguard.events import Event, Outgoing
from appliance.proto.wireguard.handshake import InitiatorState, LocalIdentity
from appliance.proto.wireguard.keypair import Keypair
from appliance.proto.wireguard.settings import Randomness, Settings
from appliance.proto.wireguard.source import Source
from appliance.proto.wireguard.timestamp import TimestampSource
from appliance.types.keys import NodePublicKey

if TYPE_CHECKING:
    from appliance.proto.wireguard.session import Session


@dataclass(slots=True)
class PendingHandshake:
    """Our initiation that waits for its response."""

    session: Session
    local_index: int
    state: InitiatorState


@dataclass(slots=True)
class Context:
    """`wall_ns` reads the wall clock in nanoseconds since 1970, for TAI64N alone. `mtu` bounds padding; 0: none.

    `first_packet` gives what is to be the first user data on a new key pair with a peer, None: nothing.
    """

    local: LocalIdentity
    settings: Settings
    random: Randomness
    wall_ns: Callable[[], int]
    timestamps: TimestampSource
    mtu: int = 0
    indices: dict[int, Keypair | PendingHandshake] = field(default_factory=dict)
    outbox: list[Outgoing] = field(default_factory=list)
    events: deque[Event] = field(default_factory=deque)
    counters: Counter[str] = field(default_factory=Counter)
    heard: dict[NodePublicKey, tuple[Source, int]] = field(default_factory=dict)
    first_packet: Callable[[NodePublicKey], bytes | None] | None = None
    make_cipher: CipherFactory = PythonCipher

    def free_index(self) -> int:
        """A random session index that nothing uses."""
        while True:
            index = int.from_bytes(self.random.bytes(4), "little")
            if index not in self.indices:
                return index

    def note_heard(self, peer: NodePublicKey, source: Source, size: int) -> None:
        """Something authentic of `size` bytes came from a peer."""
        _, before = self.heard.get(peer, (source, 0))
        self.heard[peer] = (source, before + size)

    def jitter(self) -> float:
        return self.random.uniform(0.0, self.settings.rekey_jitter_s)
