"""NaCl `crypto_box` on raw bytes, with the precomputed form for a pair that talks often (disco, DERP)."""

from __future__ import annotations

from nacl import bindings as _nacl
from nacl.exceptions import CryptoError

from appliance.types.errors import DecodeError, DecodeReason

NONCE_SIZE = 24
TAG_SIZE = 16


def box_precompute(private: bytes, public: bytes) -> bytes:
    """Shared key of a pair: HSalsa20(X25519(private, public), 0). A zero or low-order key raises `DecodeError`."""
    if not any(public):
        raise DecodeError(DecodeReason.BAD_KEY, "zero public key")
    try:
        return bytes(_nacl.crypto_box_beforenm(public, private))
    except CryptoError:
        raise DecodeError(DecodeReason.BAD_KEY, "low-order public key") from None


def box_seal(shared: bytes, nonce: bytes, plaintext: bytes) -> bytes:
    """Tag (16) followed by ciphertext, NaCl layout."""
    return bytes(_nacl.crypto_box_afternm(plaintext, nonce, shared))


def box_open(shared: bytes, nonce: bytes, sealed: bytes) -> bytes:
    """Raises `DecodeError` (TOO_SHORT, BAD_CIPHERTEXT)."""
    if len(sealed) < TAG_SIZE:
        raise DecodeError(DecodeReason.TOO_SHORT, "box")
    try:
        return bytes(_nacl.crypto_box_open_afternm(sealed, nonce, shared))
    except CryptoError:
        raise DecodeError(DecodeReason.BAD_CIPHERTEXT) from None
