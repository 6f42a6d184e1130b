"""One key pair of a session: who made it and when, and its cipher, which holds the keys and the counters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.crypto.aead import TAG_SIZE
from appliance.proto.wireguard.cipher import CipherFactory, PythonCipher
from appliance.proto.wireguard.handshake import TransportKeys
from appliance.proto.wireguard.messages import TRANSPORT_HEADER_SIZE, padded_size
from appliance.proto.wireguard.settings import Settings

if TYPE_CHECKING:
    from appliance.proto.wireguard.session import Session


class Keypair:
    """Keys of both directions. `created` is monotonic seconds; `initiator` says that our side began the handshake."""

    __slots__ = ("cipher", "created", "initiator", "local_index", "remote_index", "session")

    def __init__(
        self,
        session: Session,
        keys: TransportKeys,
        indices: tuple[int, int],
        *,
        initiator: bool,
        created: float,
        settings: Settings,
        make_cipher: CipherFactory = PythonCipher,
    ) -> None:
        self.session = session
        self.local_index, self.remote_index = indices
        self.initiator = initiator
        self.created = created
        self.cipher = make_cipher(keys, self.remote_index, settings)

    @property
    def sent(self) -> int:
        """Messages sealed so far, which is the next counter."""
        return self.cipher.sent

    def room(self, count: int) -> bool:
        """Whether `count` more messages may be sealed."""
        return self.cipher.room(count)

    def seal_slots(self, slots: memoryview, stride: int) -> None:
        """Seal in place every slot of `slots`: `stride` bytes each, the last may be shorter. Ask `room` first."""
        self.cipher.seal_slots(slots, stride)

    def seal_one(self, packet: bytes | memoryview, mtu: int) -> bytes:
        """A padded, sealed copy of one packet; empty is a keepalive."""
        padded = padded_size(len(packet), mtu)
        slot = bytearray(TRANSPORT_HEADER_SIZE + padded + TAG_SIZE)
        slot[TRANSPORT_HEADER_SIZE : TRANSPORT_HEADER_SIZE + len(packet)] = packet
        self.seal_slots(memoryview(slot), len(slot))
        return bytes(slot)

    def may_open(self, counter: int) -> bool:
        return self.cipher.may_open(counter)

    def open(self, packet: memoryview, counter: int) -> memoryview | None:
        """Decrypt a writable transport message in place; None when it is not authentic or a repetition."""
        return packet[TRANSPORT_HEADER_SIZE:-TAG_SIZE] if self.cipher.open(packet, counter) else None
