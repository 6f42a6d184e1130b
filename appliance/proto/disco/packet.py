"""The outer disco packet and the keys that seal it (magicsock-disco spec 1.1, 1.2).

| Offset | Length | Field |
|---|---|---|
| 0 | 6 | magic `54 53 f0 9f 92 ac` |
| 6 | 32 | sender's disco public key, clear |
| 38 | 24 | nonce, random |
| 62 | 16 + n | XSalsa20-Poly1305 box of the inner message, tag first |
"""

from __future__ import annotations

from collections import OrderedDict

from appliance.crypto.box import box_open, box_precompute, box_seal
from appliance.crypto.x25519 import public_key
from appliance.proto.disco.messages import Message, encode_message, parse_message
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.keys import DiscoPrivateKey, DiscoPublicKey
from appliance.types.packets import Buffer

MAGIC = b"TS\xf0\x9f\x92\xac"
KEY_END = 38
HEADER_SIZE = 62
MAX_SHARED_KEYS = 8192


def is_disco(packet: Buffer) -> bool:
    """Whether a packet counts as disco on DERP: the magic and a whole header."""
    return len(packet) >= HEADER_SIZE and packet[:6] == MAGIC


def sender_key(packet: Buffer) -> DiscoPublicKey:
    """Claimed sender of a disco packet, before its box is opened. Raises `DecodeError`."""
    if len(packet) < HEADER_SIZE:
        raise DecodeError(DecodeReason.TOO_SHORT, "disco packet")
    if packet[:6] != MAGIC:
        raise DecodeError(DecodeReason.BAD_MAGIC, "disco packet")
    return DiscoPublicKey(bytes(packet[6:KEY_END]))


class DiscoKeys:
    """Our disco key pair with a bounded cache of shared keys, the least recently used dropped first.

    Look the sender up among known peers before `open`: the cache holds peers, not whoever sends a packet.
    """

    def __init__(self, private: DiscoPrivateKey, *, capacity: int = MAX_SHARED_KEYS) -> None:
        self.public = public_key(private)
        self._private = private
        self._capacity = capacity
        self._shared: OrderedDict[DiscoPublicKey, bytes] = OrderedDict()

    def shared(self, peer: DiscoPublicKey) -> bytes:
        """Precomputed box key of the pair. A zero or low-order key raises `DecodeError` (BAD_KEY)."""
        found = self._shared.get(peer)
        if found is not None:
            self._shared.move_to_end(peer)
            return found
        made = box_precompute(self._private.reveal(), peer.raw)
        self._shared[peer] = made
        if len(self._shared) > self._capacity:
            self._shared.popitem(last=False)
        return made

    def forget(self, peer: DiscoPublicKey) -> None:
        """Drop the shared key of a peer that left or changed its key."""
        self._shared.pop(peer, None)

    def seal(self, peer: DiscoPublicKey, message: Message, nonce: bytes) -> bytes:
        """The whole packet. `nonce` is 24 fresh random bytes."""
        return MAGIC + self.public.raw + nonce + box_seal(self.shared(peer), nonce, encode_message(message))

    def open(self, packet: Buffer) -> tuple[DiscoPublicKey, Message]:
        """Sender and message. Raises `DecodeError`; a box that does not open is normal after a restart."""
        sender = sender_key(packet)
        nonce = bytes(packet[KEY_END:HEADER_SIZE])
        return sender, parse_message(box_open(self.shared(sender), nonce, bytes(packet[HEADER_SIZE:])))

    def __len__(self) -> int:
        """Shared keys held."""
        return len(self._shared)
