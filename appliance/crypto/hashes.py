"""BLAKE2s, its keyed MAC, and the HKDF of Noise and WireGuard (HMAC over BLAKE2s-256; WireGuard paper 5.4)."""

from __future__ import annotations

import hashlib
import hmac

equal = hmac.compare_digest


def blake2s(*parts: bytes) -> bytes:
    """Unkeyed BLAKE2s-256 of the concatenation."""
    state = hashlib.blake2s()
    for part in parts:
        state.update(part)
    return state.digest()


def mac16(key: bytes, *parts: bytes) -> bytes:
    """Keyed BLAKE2s with 16 bytes of output: WireGuard's MAC."""
    state = hashlib.blake2s(key=key, digest_size=16)
    for part in parts:
        state.update(part)
    return state.digest()


def mac32(key: bytes, *parts: bytes) -> bytes:
    """Keyed BLAKE2s-256."""
    state = hashlib.blake2s(key=key)
    for part in parts:
        state.update(part)
    return state.digest()


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.blake2s).digest()


def kdf(count: int, chaining_key: bytes, material: bytes) -> tuple[bytes, ...]:
    """`count` (1 to 3) keys of 32 bytes: KDF1 to KDF3 of the WireGuard paper, HKDF of Noise."""
    secret = _hmac(chaining_key, material)
    outputs: list[bytes] = []
    last = b""
    for index in range(1, count + 1):
        last = _hmac(secret, last + bytes((index,)))
        outputs.append(last)
    return tuple(outputs)
