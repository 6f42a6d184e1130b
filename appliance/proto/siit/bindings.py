"""Which IPv4 address of a pool stands for which IPv6 source, per site.

A pool address stands for one source alone, so ports stay as they are; the host's own NAT goes on from there. The first
guess of an address follows from the source, so that a restart gives most sources their former one.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network
from zlib import crc32

IDLE_S = 7440.0
"""A binding that was used within this time is never given to another source (RFC 5382 REQ-5: 2 h 4 min)."""
SWEEP_S = 10.0
"""Idle bindings are looked for at most this often."""
_FULLEST = 0.75
"""Share of the pool in use at most, so that a free address is found soon."""


@dataclass(slots=True)
class _Binding:
    address: bytes
    used_at: float


class Bindings:
    """Addresses are packed; a key is a source's 16 bytes and the site's 4. `refused` counts keys without an address."""

    def __init__(self, pool: IPv4Network) -> None:
        self._first = int(pool.network_address) + 1
        self._size = max(pool.num_addresses - 2, 1)
        self._by_key: dict[bytes, _Binding] = {}
        self._by_address: dict[bytes, bytes] = {}
        self._sweep_at = 0.0
        self.capacity = max(int(self._size * _FULLEST), 1)
        self.refused = 0

    def __len__(self) -> int:
        return len(self._by_key)

    def bind(self, key: bytes, now: float) -> bytes | None:
        """The address that stands for `key`, a new one if needed; None when the pool is used up."""
        held = self._by_key.get(key)
        if held is None:
            return self._new(key, now)
        held.used_at = now
        return held.address

    def find(self, key: bytes) -> bytes | None:
        """The address that stands for `key` already."""
        held = self._by_key.get(key)
        return held.address if held is not None else None

    def owner(self, address: bytes, now: float) -> bytes | None:
        """The key that an address stands for."""
        key = self._by_address.get(address)
        if key is not None:
            self._by_key[key].used_at = now
        return key

    def _new(self, key: bytes, now: float) -> bytes | None:
        if len(self._by_key) >= self.capacity and now >= self._sweep_at:
            self._sweep_at = now + SWEEP_S
            self._sweep(now)
        if len(self._by_key) >= self.capacity:
            self.refused += 1
            return None
        place = crc32(key) % self._size
        while (address := (self._first + place).to_bytes(4, "big")) in self._by_address:
            place = (place + 1) % self._size
        self._by_address[address] = key
        self._by_key[key] = _Binding(address, now)
        return address

    def _sweep(self, now: float) -> None:
        for key, held in list(self._by_key.items()):
            if now - held.used_at > IDLE_S:
                del self._by_key[key]
                del self._by_address[held.address]
