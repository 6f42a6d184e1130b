"""X25519 (RFC 7748): key making and Diffie-Hellman on raw bytes, and typed public keys from private ones."""

from __future__ import annotations

from typing import overload

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.keys import (
    ChallengePrivateKey,
    ChallengePublicKey,
    DerpPrivateKey,
    DerpPublicKey,
    DiscoPrivateKey,
    DiscoPublicKey,
    MachinePrivateKey,
    MachinePublicKey,
    NodePrivateKey,
    NodePublicKey,
    PublicKey,
    SecretKey,
    clamp,
)

__all__ = ["clamp", "public_key", "x25519_exchange", "x25519_public"]

_PUBLIC_OF: dict[type[SecretKey], type[PublicKey]] = {
    MachinePrivateKey: MachinePublicKey,
    NodePrivateKey: NodePublicKey,
    DiscoPrivateKey: DiscoPublicKey,
    ChallengePrivateKey: ChallengePublicKey,
    DerpPrivateKey: DerpPublicKey,
}


def x25519_public(private: bytes) -> bytes:
    """Public key of a raw 32-byte private key."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def x25519_exchange(private: bytes, public: bytes) -> bytes:
    """Shared secret; an all-zero result (low-order public key) raises `DecodeError` (BAD_KEY)."""
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise DecodeError(DecodeReason.BAD_KEY, "low-order public key") from None


@overload
def public_key(private: MachinePrivateKey) -> MachinePublicKey: ...
@overload
def public_key(private: NodePrivateKey) -> NodePublicKey: ...
@overload
def public_key(private: DiscoPrivateKey) -> DiscoPublicKey: ...
@overload
def public_key(private: ChallengePrivateKey) -> ChallengePublicKey: ...
@overload
def public_key(private: DerpPrivateKey) -> DerpPublicKey: ...


def public_key(private: SecretKey) -> PublicKey:
    """The public key of the same kind."""
    return _PUBLIC_OF[type(private)](x25519_public(private.reveal()))
