"""The keys of one key pair at work: counters, in-place sealing and opening, replay window (WireGuard paper 5.4.6).

`PythonCipher` is the form that always works; an engine may give a factory of another one to its tunnel. A slot is the
wire form of one packet in a buffer: 16 bytes of header, the padded plaintext, 16 bytes for the tag.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from appliance.crypto.aead import TAG_SIZE, Cipher, InvalidTag
from appliance.proto.wireguard.handshake import TransportKeys
from appliance.proto.wireguard.messages import TRANSPORT, TRANSPORT_HEADER, TRANSPORT_HEADER_SIZE
from appliance.proto.wireguard.replay import ReplayWindow
from appliance.proto.wireguard.settings import Settings


class TransportCipher(Protocol):
    """What a key pair needs of its cipher."""

    @property
    def sent(self) -> int:
        """Messages sealed so far, which is the next counter."""
        ...

    def room(self, count: int, /) -> bool:
        """Whether `count` more messages may be sealed."""
        ...

    def seal_slots(self, slots: memoryview, stride: int, /) -> None:
        """Seal in place every slot: `stride` bytes each, the last may be shorter. ValueError past the limit."""
        ...

    def may_open(self, counter: int, /) -> bool:
        """Whether a message with this counter may still be opened."""
        ...

    def open(self, packet: memoryview, counter: int, /) -> bool:
        """Decrypt a writable transport message in place; False when it is not authentic or a repetition."""
        ...


class PythonCipher:
    """For one thread."""

    __slots__ = ("_limit", "_opener", "_remote_index", "_replay", "_sealer", "_sent")

    def __init__(self, keys: TransportKeys, remote_index: int, settings: Settings) -> None:
        self._remote_index = remote_index
        self._limit = settings.reject_after_messages
        self._sealer = Cipher(keys.send)
        self._opener = Cipher(keys.receive)
        self._replay = ReplayWindow(settings.replay_bits)
        self._sent = 0

    @property
    def sent(self) -> int:
        return self._sent

    def room(self, count: int, /) -> bool:
        return self._sent + count <= self._limit

    def _reserve(self, count: int) -> int:
        """Take `count` counters before any is used, so that no failure can make one come twice."""
        first = self._sent
        if first + count > self._limit:
            raise ValueError("message limit of the key pair reached; ask room() first")
        self._sent = first + count
        return first

    def seal_slots(self, slots: memoryview, stride: int, /) -> None:
        size = len(slots)
        counter = self._reserve(-(-size // stride))
        index, header, encrypt = self._remote_index, TRANSPORT_HEADER.pack_into, self._sealer.encrypt_into
        for start in range(0, size, stride):
            end = min(start + stride, size)
            header(slots, start, TRANSPORT, index, counter)
            body = start + TRANSPORT_HEADER_SIZE
            nonce = (counter << 32).to_bytes(12, "little")
            encrypt(nonce, slots[body : end - TAG_SIZE], None, slots[body:end])
            counter += 1

    def may_open(self, counter: int, /) -> bool:
        return counter < self._limit and self._replay.may_accept(counter)

    def open(self, packet: memoryview, counter: int, /) -> bool:
        plain = packet[TRANSPORT_HEADER_SIZE:-TAG_SIZE]
        nonce = (counter << 32).to_bytes(12, "little")
        try:
            self._opener.decrypt_into(nonce, packet[TRANSPORT_HEADER_SIZE:], None, plain)
        except InvalidTag:
            return False
        return self._replay.mark(counter)


CipherFactory = Callable[[TransportKeys, int, Settings], TransportCipher]
"""`(keys, remote_index, settings)`: the cipher of a new key pair."""
