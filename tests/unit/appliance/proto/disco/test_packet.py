"""The outer disco packet: sealing, opening, the bounded cache of shared keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.proto.disco import DiscoKeys, Ping, is_disco, sender_key
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.keys import DiscoPrivateKey, DiscoPublicKey, NodePublicKey

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[4] / "vectors/disco/messages.json").read_text(encoding="utf-8")
)
A = DiscoPrivateKey(bytes.fromhex(VECTORS["keys"]["a_private"]))
B = DiscoPrivateKey(bytes.fromhex(VECTORS["keys"]["b_private"]))
PING = Ping(bytes.fromhex(VECTORS["ping"]["tx_id"]), NodePublicKey(bytes.fromhex(VECTORS["ping"]["node_key"])))
PACKET = bytes.fromhex(VECTORS["ping"]["packet"])


def test_ok__vector_is_sealed_and_opened() -> None:
    ours, theirs = DiscoKeys(A), DiscoKeys(B)
    assert ours.public.raw.hex() == VECTORS["keys"]["a_public"]
    assert ours.shared(theirs.public).hex() == VECTORS["keys"]["shared"]
    assert ours.seal(theirs.public, PING, bytes.fromhex(VECTORS["ping"]["nonce"])) == PACKET
    assert len(PACKET) == 124
    assert theirs.open(PACKET) == (ours.public, PING)
    assert theirs.open(memoryview(PACKET)) == (ours.public, PING)


def test_ok__sender_is_readable_before_the_box() -> None:
    assert sender_key(PACKET) == DiscoKeys(A).public
    assert is_disco(PACKET)
    assert is_disco(PACKET[:62])
    assert not is_disco(PACKET[:61])


def test_ok__cache_is_bounded_and_drops_the_oldest() -> None:
    keys = DiscoKeys(A, capacity=2)
    peers = [DiscoPublicKey(bytes((seed,)) * 32) for seed in (9, 10, 11)]
    for peer in peers:
        keys.shared(peer)
    assert len(keys) == 2
    keys.forget(peers[2])
    assert len(keys) == 1


def test_fail__changed_byte_does_not_open() -> None:
    broken = PACKET[:-1] + bytes((PACKET[-1] ^ 1,))
    with pytest.raises(DecodeError) as caught:
        DiscoKeys(B).open(broken)
    assert caught.value.reason is DecodeReason.BAD_CIPHERTEXT


def test_fail__zero_sender_key() -> None:
    with pytest.raises(DecodeError) as caught:
        DiscoKeys(B).open(PACKET[:6] + bytes(32) + PACKET[38:])
    assert caught.value.reason is DecodeReason.BAD_KEY
