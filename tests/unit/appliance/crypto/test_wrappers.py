"""Crypto wrappers against published vectors; every failure is a `DecodeError`."""

from __future__ import annotations

import pytest

from appliance.crypto.aead import open_, seal, xopen, xseal
from appliance.crypto.box import box_open, box_precompute, box_seal
from appliance.crypto.hashes import blake2s, kdf, mac16, mac32
from appliance.crypto.x25519 import clamp, public_key, x25519_exchange, x25519_public
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.keys import DiscoPrivateKey, DiscoPublicKey, NodePrivateKey, NodePublicKey


def test_ok__x25519_rfc7748_section_6_1() -> None:
    bob = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    alice_public = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    assert x25519_public(bob).hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    assert x25519_exchange(bob, alice_public).hex() == shared


def test_ok__public_key_keeps_the_kind() -> None:
    raw = clamp(bytes(range(32)))
    assert type(public_key(NodePrivateKey(raw))) is NodePublicKey
    assert type(public_key(DiscoPrivateKey(raw))) is DiscoPublicKey
    # magicsock-disco spec section 7, key A
    assert public_key(NodePrivateKey(raw)).raw.hex().startswith("8f40c5adb68f2562")


def test_fail__low_order_public_key() -> None:
    with pytest.raises(DecodeError) as error:
        x25519_exchange(clamp(bytes(32)), bytes(32))
    assert error.value.reason is DecodeReason.BAD_KEY
    with pytest.raises(DecodeError):
        box_precompute(clamp(bytes(32)), bytes(32))


def test_fail__seed_of_another_size() -> None:
    with pytest.raises(ValueError):
        clamp(b"short")


def test_ok__disco_shared_key_of_the_spec() -> None:
    a, b = clamp(bytes(range(32))), clamp(bytes(range(0x20, 0x40)))
    shared = "429b61f5d96e37268dfc5114849d599c9ceabffdb68c1f52cd0499af30f5b377"  # magicsock-disco spec 7
    assert box_precompute(a, x25519_public(b)).hex() == shared


@pytest.mark.parametrize("cut", [0, 15, 20])
def test_fail__box_cut_or_changed(cut: int) -> None:
    shared, nonce = bytes(32), bytes(24)
    sealed = box_seal(shared, nonce, b"message")
    assert box_open(shared, nonce, sealed) == b"message"
    with pytest.raises(DecodeError):
        box_open(shared, nonce, sealed[:cut])
    with pytest.raises(DecodeError):
        box_open(shared, nonce, bytes((sealed[0] ^ 1,)) + sealed[1:])


@pytest.mark.parametrize(("sealer", "opener", "nonce"), [(seal, open_, bytes(12)), (xseal, xopen, bytes(24))])
def test_ok__aead_round_trip_and_refusal(sealer, opener, nonce: bytes) -> None:
    sealed = sealer(bytes(32), nonce, b"text", b"more")
    assert opener(bytes(32), nonce, sealed, b"more") == b"text"
    for bad, data in ((sealed[:-1], b"more"), (sealed, b"other"), (b"", b"")):
        with pytest.raises(DecodeError):
            opener(bytes(32), nonce, bad, data)


def test_ok__wireguard_initial_hashes() -> None:
    chain = blake2s(b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s")
    assert chain.hex() == "60e26daef327efc02ec335e2a025d2d016eb4206f87277f52d38d1988b78cd36"
    digest = blake2s(chain, b"WireGuard v1 zx2c4 Jason@zx2c4.com")
    assert digest.hex() == "2211b361081ac566691243db458ad5322d9c6c662293e8b70ee19c65ba079ef3"


def test_ok__macs_and_kdf_sizes() -> None:
    assert len(mac16(b"k", b"m")) == 16
    assert mac32(b"k", b"a", b"b") == mac32(b"k", b"ab")
    one, two, three = kdf(3, bytes(32), b"in")
    assert kdf(1, bytes(32), b"in") == (one,)
    assert kdf(2, bytes(32), b"in") == (one, two)
    assert len({one, two, three}) == 3
