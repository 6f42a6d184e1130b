"""ChaCha20-Poly1305 (RFC 8439) and XChaCha20-Poly1305 (WireGuard cookies)."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from nacl import bindings as _nacl
from nacl.exceptions import CryptoError

from appliance.types.errors import DecodeError, DecodeReason

TAG_SIZE = 16
NONCE_SIZE = 12
XNONCE_SIZE = 24

Cipher = ChaCha20Poly1305
"""A keyed cipher for many packets; make it once per key (`encrypt`/`decrypt`, and the `_into` forms)."""


def seal(key: bytes, nonce: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
    return ChaCha20Poly1305(key).encrypt(nonce, plaintext, associated_data)


def open_(key: bytes, nonce: bytes, ciphertext: bytes, associated_data: bytes) -> bytes:
    """Decrypt and check; raises `DecodeError` (BAD_CIPHERTEXT)."""
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, ciphertext, associated_data)
    except InvalidTag:
        raise DecodeError(DecodeReason.BAD_CIPHERTEXT) from None


def xseal(key: bytes, nonce: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
    return bytes(_nacl.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, associated_data, nonce, key))


def xopen(key: bytes, nonce: bytes, ciphertext: bytes, associated_data: bytes) -> bytes:
    """Decrypt and check; raises `DecodeError` (TOO_SHORT, BAD_CIPHERTEXT)."""
    if len(ciphertext) < TAG_SIZE:
        raise DecodeError(DecodeReason.TOO_SHORT, "no room for a tag")
    try:
        return bytes(_nacl.crypto_aead_xchacha20poly1305_ietf_decrypt(ciphertext, associated_data, nonce, key))
    except CryptoError:
        raise DecodeError(DecodeReason.BAD_CIPHERTEXT) from None


__all__ = ["NONCE_SIZE", "TAG_SIZE", "XNONCE_SIZE", "Cipher", "InvalidTag", "open_", "seal", "xopen", "xseal"]
