"""The text form of keys that are shown once: a kind, 12 hex digits that name the key, 48 of its secret (192 bits).

Only the SHA-256 of the secret is stored: a secret of that size needs no slow hash.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from control.service.errors import ServiceError

if TYPE_CHECKING:
    from datetime import timedelta

    from appliance.ports.randomness import Randomness


def secret_hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


@dataclass(frozen=True)
class KeyText:
    """Keys of one kind. `kind` is what their text begins with."""

    kind: str

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(re.escape(self.kind) + "([0-9a-f]{12})-([0-9a-f]{48})")

    def make(self, randomness: Randomness) -> tuple[str, str]:
        """Public part and secret of a new key."""
        return randomness.bytes(6).hex(), randomness.bytes(24).hex()

    def text(self, public: str, secret: str) -> str:
        return f"{self.kind}{public}-{secret}"

    def split(self, text: str) -> tuple[str, bytes] | None:
        """Public part and hash of the secret; None for what is no key of this kind."""
        match = self._pattern.fullmatch(text)
        return None if match is None else (match.group(1), secret_hash(match.group(2)))

    def named(self, text: str) -> str:
        """What a person gave to name a key: its id, its public part, or the whole text."""
        return text.strip().removeprefix(self.kind).partition("-")[0]


def check_life(life: timedelta | None, example: str) -> None:
    """None = no expiry. Raises `ServiceError`."""
    if life is not None and life.total_seconds() <= 0:
        raise ServiceError("the key would be expired already", mend=f"give a positive --expiration, as {example}")
