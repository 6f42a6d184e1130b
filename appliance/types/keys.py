"""Keys: one class per kind, so that a node key can never be passed where a disco key is meant.

Text forms and lengths: control-protocol spec section 1. Private keys print redacted, compare in constant time, and
give their bytes only through `reveal()`. Making keys and deriving public ones is `appliance.crypto`'s work.
"""

from __future__ import annotations

import hmac
from typing import ClassVar, Self

from appliance.types.errors import DecodeError, DecodeReason

SIZE = 32
"""Of every kind, in bytes."""
_HEX = frozenset("0123456789abcdefABCDEF")


def _parse_hex(text: str, prefix: str) -> bytes:
    if not text.startswith(prefix):
        raise DecodeError(DecodeReason.BAD_KEY, f"expected a key that starts with {prefix!r}")
    digits = text[len(prefix) :]
    if len(digits) != 2 * SIZE or not _HEX.issuperset(digits):
        raise DecodeError(DecodeReason.BAD_KEY, f"expected {2 * SIZE} hex digits after {prefix!r}")
    return bytes.fromhex(digits)


class PublicKey:
    """Base of 32-byte public keys: hashable, ordered bytewise, shown by prefix and hex."""

    PREFIX: ClassVar[str] = ""
    __slots__ = ("_hash", "raw")
    raw: bytes

    def __init__(self, raw: bytes) -> None:
        if len(raw) != SIZE:
            raise DecodeError(DecodeReason.BAD_KEY, f"{type(self).__name__} is {SIZE} bytes, not {len(raw)}")
        object.__setattr__(self, "raw", bytes(raw))
        object.__setattr__(self, "_hash", hash((type(self), self.raw)))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __reduce__(self) -> tuple[type[Self], tuple[bytes]]:
        return type(self), (self.raw,)

    @classmethod
    def zero(cls) -> Self:
        """The zero key, which means 'none' on the wire."""
        return cls(bytes(SIZE))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse prefix plus hex (either case). Raises `DecodeError` (BAD_KEY)."""
        return cls(_parse_hex(text, cls.PREFIX))

    @property
    def is_zero(self) -> bool:
        return not any(self.raw)

    @property
    def short(self) -> str:
        """First 8 hex digits, for logs and tables."""
        return self.raw[:4].hex()

    def __str__(self) -> str:
        return self.PREFIX + self.raw.hex()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.short})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.raw == other.raw

    def __lt__(self, other: Self) -> bool:
        return self.raw < other.raw

    def __hash__(self) -> int:
        return self._hash  # type: ignore[attr-defined,no-any-return]  # set in __init__


class MachinePublicKey(PublicKey):
    """Static key of the Noise handshake toward control; one per install."""

    PREFIX = "mkey:"
    __slots__ = ()


class NodePublicKey(PublicKey):
    """WireGuard public key of a node; also its DERP identity."""

    PREFIX = "nodekey:"
    __slots__ = ()


class DiscoPublicKey(PublicKey):
    """Key of the path-discovery protocol; new at every process start."""

    PREFIX = "discokey:"
    __slots__ = ()


class ChallengePublicKey(PublicKey):
    """Sent by control servers in the early payload; per Noise connection."""

    PREFIX = "chalpub:"
    __slots__ = ()


class DerpPublicKey(PublicKey):
    """Public key of a DERP server; 64 hex digits without a prefix."""

    __slots__ = ()


class SecretKey:
    """Base of secrets: never shown, compared in constant time, bytes only by `reveal()`."""

    PREFIX: ClassVar[str] = "privkey:"
    __slots__ = ("_raw",)
    _raw: bytes

    def __init__(self, raw: bytes) -> None:
        if len(raw) != SIZE:
            raise DecodeError(DecodeReason.BAD_KEY, f"{type(self).__name__} is {SIZE} bytes, not {len(raw)}")
        object.__setattr__(self, "_raw", bytes(raw))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __reduce__(self) -> tuple[type[Self], tuple[bytes]]:
        raise TypeError(f"{type(self).__name__} is not serialisable by accident; use reveal_text()")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the private text form (state files only). The error never repeats the text."""
        return cls(_parse_hex(text, cls.PREFIX))

    def reveal(self) -> bytes:
        """The raw bytes; for `appliance.crypto`, state files and kernel configuration only."""
        return self._raw

    def reveal_text(self) -> str:
        """The private text form, for state files only."""
        return self.PREFIX + self._raw.hex()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(redacted)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and hmac.compare_digest(self._raw, other._raw)

    def __hash__(self) -> int:
        return hash((type(self), self._raw))


def clamp(seed: bytes) -> bytes:
    """Clamp 32 random bytes to an X25519 private key (RFC 7748 section 5)."""
    if len(seed) != 32:
        raise ValueError("an X25519 seed is 32 bytes")
    return bytes((seed[0] & 248, *seed[1:31], (seed[31] & 127) | 64))


class X25519SecretKey(SecretKey):
    """Base of X25519 private keys."""

    __slots__ = ()

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """A new key from 32 fresh random bytes."""
        return cls(clamp(seed))


class MachinePrivateKey(X25519SecretKey):
    __slots__ = ()


class NodePrivateKey(X25519SecretKey):
    __slots__ = ()


class DiscoPrivateKey(X25519SecretKey):
    """Never stored."""

    __slots__ = ()


class ChallengePrivateKey(X25519SecretKey):
    """Never stored."""

    __slots__ = ()


class DerpPrivateKey(X25519SecretKey):
    __slots__ = ()


class PresharedKey(SecretKey):
    """WireGuard pre-shared key; 32 zero bytes in this ecosystem."""

    PREFIX = "psk:"
    __slots__ = ()


class DerpMeshKey(SecretKey):
    """Shared by the DERP servers of one region; 64 hex digits without a prefix."""

    PREFIX = ""
    __slots__ = ()
