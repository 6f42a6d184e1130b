"""A sorted mapping that never changes. The next edition of it shares with it all that did not change.

Entries are kept in blocks of some dozen: a change copies the blocks that it touches, and two editions are compared by
the blocks that they do not share. So whoever follows a large table pays for what changed, not for its size.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from itertools import chain
from operator import is_not
from typing import Any, Protocol, TypeVar

from appliance.types.sequences import common_ends


class Ordered(Protocol):
    """Keys that can be compared with each other."""

    def __lt__(self, other: Any, /) -> bool: ...


K = TypeVar("K", bound=Ordered)
V = TypeVar("V")

BLOCK = 64
"""Entries of a block when it is cut; it may grow to twice as many."""
_ABSENT = object()


class Edition(Mapping[K, V]):
    """Keys in order. `changed` makes the next edition, `difference` compares with another one."""

    __slots__ = ("_blocks", "_firsts", "_length")

    def __init__(self, entries: Mapping[K, V] | None = None) -> None:
        blocks = _cut(entries or {})
        self._set(blocks, [keys[0] for keys, _values in blocks], len(entries or {}))

    def _set(self, blocks: Iterable[_Block[K, V]], firsts: Iterable[K], length: int) -> None:
        self._blocks: tuple[_Block[K, V], ...] = tuple(blocks)
        self._firsts: tuple[K, ...] = tuple(firsts)
        self._length = length

    def __getitem__(self, key: K) -> V:
        if self._blocks:
            keys, values = self._blocks[self._place(key)]
            at = bisect_left(keys, key)
            if at < len(keys) and keys[at] == key:
                return values[at]
        raise KeyError(key)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[K]:
        return chain.from_iterable(keys for keys, _values in self._blocks)

    def items(self) -> ItemsView[K, V]:
        return _Items(self)

    def values(self) -> ValuesView[V]:
        return _Values(self)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Edition):
            return len(self) == len(other) and not any(self.difference(other))
        return super().__eq__(other)

    def _place(self, key: K) -> int:
        """The block where a key is, or would be."""
        return max(bisect_right(self._firsts, key) - 1, 0)

    def at_or_before(self, key: K) -> tuple[K, V] | None:
        """The entry with the last key that is not beyond this one."""
        if not self._blocks or key < self._firsts[0]:
            return None
        keys, values = self._blocks[self._place(key)]
        at = bisect_right(keys, key) - 1
        return keys[at], values[at]

    def between(self, first: K, last: K) -> Iterator[tuple[K, V]]:
        """Entries from the first key to the last one, both included."""
        for keys, values in self._blocks[self._place(first) :]:
            if last < keys[0]:
                return
            start, stop = bisect_left(keys, first), bisect_right(keys, last)
            yield from zip(keys[start:stop], values[start:stop], strict=True)

    def changed(self, gone: Iterable[K], put: Mapping[K, V]) -> Edition[K, V]:
        """The next edition: without the keys that are gone, if they were there, then with what is put."""
        touched: dict[int, tuple[list[K], dict[K, V]]] = {}
        for key in gone:
            touched.setdefault(self._place(key), ([], {}))[0].append(key)
        for key, value in put.items():
            touched.setdefault(self._place(key), ([], {}))[1][key] = value
        if not touched:
            return self
        blocks, firsts, length = list(self._blocks), list(self._firsts), self._length
        for place in sorted(touched, reverse=True):
            held = dict(zip(*blocks[place], strict=True)) if blocks else {}
            length -= len(held)
            for key in touched[place][0]:
                held.pop(key, None)
            held |= touched[place][1]
            length += len(held)
            blocks[place : place + 1] = fresh = _cut(held)
            firsts[place : place + 1] = [keys[0] for keys, _values in fresh]
        made: Edition[K, V] = Edition()
        made._set(blocks, firsts, length)
        return made

    def difference(self, former: Edition[K, V]) -> tuple[dict[K, V], dict[K, V]]:
        """What of the former edition is gone, and what is fresh here; a key whose value changed is in both."""
        if self is former:
            return {}, {}
        head, tail = common_ends(former._blocks, self._blocks, is_not)
        old, new = former._blocks[head : len(former._blocks) - tail], self._blocks[head : len(self._blocks) - tail]
        mine, theirs = set(map(id, new)), set(map(id, old))
        before = _entries(block for block in old if id(block) not in mine)
        now = _entries(block for block in new if id(block) not in theirs)
        return _without(before, now), _without(now, before)


def edition(entries: Mapping[K, V]) -> Edition[K, V]:
    """The very same one, where it is one."""
    return entries if isinstance(entries, Edition) else Edition(entries)


_Block = tuple[tuple[K, ...], tuple[V, ...]]
"""Keys in order, and their values."""


class _Items(ItemsView[K, V]):
    def __init__(self, edition: Edition[K, V]) -> None:
        super().__init__(edition)
        self._edition = edition

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return chain.from_iterable(zip(*block, strict=True) for block in self._edition._blocks)


class _Values(ValuesView[V]):
    def __init__(self, edition: Edition[Any, V]) -> None:
        super().__init__(edition)
        self._edition = edition

    def __iter__(self) -> Iterator[V]:
        return chain.from_iterable(values for _keys, values in self._edition._blocks)


def _cut(held: Mapping[K, V]) -> Sequence[_Block[K, V]]:
    """Blocks of about the same size; one alone while it is not too large."""
    keys = sorted(held)
    parts = 1 if len(keys) <= 2 * BLOCK else -(-len(keys) // BLOCK)
    size = max(-(-len(keys) // parts), 1)
    found = [tuple(keys[at : at + size]) for at in range(0, len(keys), size)]
    return [(part, tuple(held[key] for key in part)) for part in found]


def _entries(blocks: Iterable[_Block[K, V]]) -> dict[K, V]:
    found: dict[K, V] = {}
    for keys, values in blocks:
        found.update(zip(keys, values, strict=True))
    return found


def _without(entries: dict[K, V], others: dict[K, V]) -> dict[K, V]:
    """Entries that the others do not have in the same form."""
    return {
        key: value
        for key, value in entries.items()
        if (found := others.get(key, _ABSENT)) is not value and found != value
    }
