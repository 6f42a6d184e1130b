"""One key pair of a session: sealing and opening of many transport packets in place, counters, replay window.

A slot is the wire form of one packet in a buffer: 16 bytes of header, the padded plaintext, 16 bytes for the tag.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.crypto.aead import TAG_SIZE, Cipher, InvalidTag
from appliance.proto.wireguard.handshake import TransportKeys
from appliance.proto.wireguard.messages import TRANSPORT, TRANSPORT_HEADER, TRANSPORT_HEADER_SIZE, padded_size
from appliance.proto.wireguard.replay import ReplayWindow
from appliance.proto.wireguard.settings import Settings

if TYPE_CHECKING:
    from appliance.proto.wireguard.session import Session


class Keypair:
    """Keys of both directions. `created` is monotonic seconds; `initiator` says that our side began the handshake."""

    __slots__ = (
        "_limit",
        "_opener",
        "_replay",
        "_sealer",
        "_sent",
        "created",
        "initiator",
        "local_index",
        "remote_index",
        "session",
    )

    def __init__(
        self,
        session: Session,
        keys: TransportKeys,
        indices: tuple[int, int],
        *,
        initiator: bool,
        created: float,
        settings: Settings,
    ) -> None:
        self.session = session
        self.local_index, self.remote_index = indices
        self.initiator = initiator
        self.created = created
        self._limit = settings.reject_after_messages
        self._sealer = Cipher(keys.send)
        self._opener = Cipher(keys.receive)
        self._replay = ReplayWindow(settings.replay_bits)
        self._sent = 0

    @property
    def sent(self) -> int:
        """Messages sealed so far, which is the next counter."""
        return self._sent

    def room(self, count: int) -> bool:
        """Whether `count` more messages may be sealed."""
        return self._sent + count <= self._limit

    def _reserve(self, count: int) -> int:
        """Take `count` counters before any is used, so that no failure can make one come twice."""
        first = self._sent
        if first + count > self._limit:
            raise ValueError("message limit of the key pair reached; ask room() first")
        self._sent = first + count
        return first

    def seal_slots(self, slots: memoryview, stride: int) -> None:
        """Seal in place every slot of `slots`: `stride` bytes each, the last may be shorter. Ask `room` first."""
        size = len(slots)
        counter = self._reserve(-(-size // stride))
        index, header, encrypt = self.remote_index, TRANSPORT_HEADER.pack_into, self._sealer.encrypt_into
        for start in range(0, size, stride):
            end = min(start + stride, size)
            header(slots, start, TRANSPORT, index, counter)
            body = start + TRANSPORT_HEADER_SIZE
            nonce = (counter << 32).to_bytes(12, "little")
            encrypt(nonce, slots[body : end - TAG_SIZE], None, slots[body:end])
            counter += 1

    def seal_one(self, packet: bytes | memoryview, mtu: int) -> bytes:
        """A padded, sealed copy of one packet; empty is a keepalive."""
        padded = padded_size(len(packet), mtu)
        slot = bytearray(TRANSPORT_HEADER_SIZE + padded + TAG_SIZE)
        slot[TRANSPORT_HEADER_SIZE : TRANSPORT_HEADER_SIZE + len(packet)] = packet
        self.seal_slots(memoryview(slot), len(slot))
        return bytes(slot)

    def may_open(self, counter: int) -> bool:
        return counter < self._limit and self._replay.may_accept(counter)

    def open(self, packet: memoryview, counter: int) -> memoryview | None:
        """Decrypt a writable transport message in place; None when it is not authentic or a repetition."""
        plain = packet[TRANSPORT_HEADER_SIZE:-TAG_SIZE]
        try:
            self._opener.decrypt_into(
                (counter << 32).to_bytes(12, "little"), packet[TRANSPORT_HEADER_SIZE:], None, plain
            )
        except InvalidTag:
            return None
        return plain if self._replay.mark(counter) else None
