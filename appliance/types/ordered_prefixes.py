"""Many prefixes, kept in order while single ones come and go."""

from __future__ import annotations

from collections.abc import Iterable

from appliance.types.addresses import Prefix


def _key(prefix: Prefix) -> int:
    """In order of version, address and length."""
    return (prefix.version << 128 | int(prefix.network_address)) << 8 | prefix.prefixlen


class OrderedPrefixes:
    """Counts how often each was added; it stays until it was removed as often."""

    def __init__(self, prefixes: Iterable[Prefix] = ()) -> None:
        self._held: dict[int, tuple[Prefix, int]] = {}
        self._keys: list[int] = []
        self._fresh: set[int] = set()
        self._gone = False
        self.add(prefixes)

    def __len__(self) -> int:
        return len(self._held)

    def add(self, prefixes: Iterable[Prefix]) -> None:
        for prefix in prefixes:
            key = _key(prefix)
            held = self._held.get(key)
            if held is None:
                self._fresh.add(key)
            self._held[key] = (prefix, 1) if held is None else (held[0], held[1] + 1)

    def remove(self, prefixes: Iterable[Prefix]) -> None:
        """Raises KeyError for one that is not there."""
        for prefix in prefixes:
            key = _key(prefix)
            held, times = self._held[key]
            if times > 1:
                self._held[key] = held, times - 1
            else:
                del self._held[key]
                self._fresh.discard(key)
                self._gone = True

    def ordered(self, *others: OrderedPrefixes) -> tuple[Prefix, ...]:
        """All of this and of the others, each once. What is already in order costs a look."""
        keys = list(self._in_order())
        held = self._held
        if others:
            keys += (key for other in others for key in other._in_order())
            keys.sort()  # runs that are in order: merged
            keys = list(dict.fromkeys(keys))
            held = {key: found for each in (*others, self) for key, found in each._held.items()}
        return tuple(held[key][0] for key in keys)

    def _in_order(self) -> list[int]:
        if self._gone or self._fresh:
            kept = [key for key in self._keys if key in self._held] if self._gone else self._keys
            self._keys = sorted([*kept, *self._fresh.difference(kept)])  # a long run in order and a few more
            self._fresh, self._gone = set(), False
        return self._keys
