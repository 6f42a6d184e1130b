"""Challenges that prove that a client receives at its source address (magicsock-disco spec 5.3, step 2).

challenge = keyed BLAKE2s-256 (secret, VNI (4, big-endian) | generation (4, big-endian) | remote disco key (32) |
source). The source's form is private to the server: its text with the port, which is unambiguous.
"""

from __future__ import annotations

from collections.abc import Callable

from appliance.crypto.hashes import equal, mac32
from appliance.types.addresses import AddrPort
from appliance.types.keys import DiscoPublicKey

SECRET_SIZE = 32
SECRET_LIFETIME_S = 120.0


class ChallengeMaker:
    """Keeps no state per client. A secret lives `SECRET_LIFETIME_S`; the one before it is still accepted."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self._secrets: list[bytes] = []
        self._made_at = float("-inf")

    def make(self, vni: int, generation: int, remote: DiscoPublicKey, source: AddrPort, now: float) -> bytes:
        """32 bytes."""
        self._rotate(now)
        return _challenge(self._secrets[0], vni, generation, remote, source)

    def verify(
        self, challenge: bytes, vni: int, generation: int, remote: DiscoPublicKey, source: AddrPort, now: float
    ) -> bool:
        """Whether `make` gave this challenge to this source not long ago."""
        self._rotate(now)
        return any(equal(challenge, _challenge(each, vni, generation, remote, source)) for each in self._secrets)

    def _rotate(self, now: float) -> None:
        age = now - self._made_at
        if age < SECRET_LIFETIME_S:
            return
        kept = self._secrets[:1] if age < 2 * SECRET_LIFETIME_S else []
        self._secrets = [self._random_bytes(SECRET_SIZE), *kept]
        self._made_at = now


def _challenge(secret: bytes, vni: int, generation: int, remote: DiscoPublicKey, source: AddrPort) -> bytes:
    numbers = vni.to_bytes(4, "big") + generation.to_bytes(4, "big")
    return mac32(secret, numbers, remote.raw, str(source).encode())
