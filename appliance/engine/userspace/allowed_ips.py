"""Which peer owns an inner address: longest prefix, for both directions (WireGuard paper 2, cryptokey routing).

A lookup tries the prefix lengths that exist, longest first, so it costs at most the bits of an address whatever the
number of prefixes; addresses seen lately are answered from a small cache.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from appliance.types.addresses import Prefix

Owner = TypeVar("Owner")
_CACHE_LIMIT = 8192


class _Family(Generic[Owner]):
    """One address family: prefix length -> network bits -> owner."""

    __slots__ = ("bits", "by_length", "lengths")

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.by_length: dict[int, dict[int, Owner]] = {}
        self.lengths: list[int] = []

    def insert(self, length: int, network: int, owner: Owner) -> None:
        if length not in self.by_length:
            self.by_length[length] = {}
            self.lengths = sorted(self.by_length, reverse=True)
        self.by_length[length][network] = owner

    def delete(self, length: int, network: int) -> None:
        table = self.by_length[length]
        del table[network]
        if not table:
            del self.by_length[length]
            self.lengths = sorted(self.by_length, reverse=True)

    def lookup(self, address: int) -> Owner | None:
        for length in self.lengths:
            owner = self.by_length[length].get(address >> (self.bits - length))
            if owner is not None:
                return owner
        return None


class AllowedIPs(Generic[Owner]):
    """Prefixes and their owners; a prefix belongs to exactly one, the last to claim it. Owners are hashable."""

    def __init__(self) -> None:
        self._families: dict[int, _Family[Owner]] = {4: _Family(32), 6: _Family(128)}
        self._owners: dict[Prefix, Owner] = {}
        self._prefixes: dict[Owner, set[Prefix]] = {}
        self._cache: dict[bytes, Owner | None] = {}

    def assign(self, owner: Owner, prefixes: Iterable[Prefix]) -> None:
        """Make `prefixes` the complete list of `owner`; what others held of them moves."""
        wished = set(prefixes)
        for prefix in self._prefixes.get(owner, set()) - wished:
            self._delete(prefix)
        for prefix in wished:
            if self._owners.get(prefix) is not owner:
                self._insert(prefix, owner)
        self._cache.clear()

    def remove(self, owner: Owner) -> None:
        for prefix in self._prefixes.pop(owner, set()):
            self._delete(prefix)
        self._cache.clear()

    def prefixes(self, owner: Owner) -> frozenset[Prefix]:
        return frozenset(self._prefixes.get(owner, ()))

    def lookup(self, address: bytes) -> Owner | None:
        """Owner of a packed address (4 or 16 bytes)."""
        try:
            return self._cache[address]
        except KeyError:
            family = self._families[4 if len(address) == 4 else 6]
            owner = family.lookup(int.from_bytes(address, "big"))
            if len(self._cache) >= _CACHE_LIMIT:
                self._cache.clear()
            self._cache[address] = owner
            return owner

    def _insert(self, prefix: Prefix, owner: Owner) -> None:
        before = self._owners.get(prefix)
        if before is not None:
            self._prefixes[before].discard(prefix)
        self._owners[prefix] = owner
        self._prefixes.setdefault(owner, set()).add(prefix)
        family = self._families[prefix.version]
        family.insert(prefix.prefixlen, int(prefix.network_address) >> (family.bits - prefix.prefixlen), owner)

    def _delete(self, prefix: Prefix) -> None:
        owner = self._owners.pop(prefix)
        self._prefixes.get(owner, set()).discard(prefix)
        family = self._families[prefix.version]
        family.delete(prefix.prefixlen, int(prefix.network_address) >> (family.bits - prefix.prefixlen))
