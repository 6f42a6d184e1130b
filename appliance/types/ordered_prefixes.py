"""Many prefixes, kept in order while single ones come and go; what changed between two sets costs what changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from appliance.types.addresses import Prefix, is_overlay
from appliance.types.editions import Edition

_BITS = {4: 32, 6: 128}


def _key(version: int, first: int, length: int) -> int:
    """In order of version, address and length."""
    return (version << 128 | first) << 8 | length


def _key_of(prefix: Prefix) -> int:
    return _key(prefix.version, int(prefix.network_address), prefix.prefixlen)


_Form = tuple[int, int, bool]
"""Version and length of prefixes, and whether they are of the overlay."""


def _form_of(prefix: Prefix) -> _Form:
    return prefix.version, prefix.prefixlen, is_overlay(prefix.network_address)


class PrefixSet(Collection[Prefix]):
    """Never changes. In order of version, address and length."""

    __slots__ = ("_forms", "_held")

    def __init__(self, prefixes: Iterable[Prefix] = ()) -> None:
        self._held = Edition({_key_of(prefix): prefix for prefix in prefixes})
        self._forms = frozenset(map(_form_of, self._held.values()))

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Prefix]:
        return iter(self._held.values())

    def __contains__(self, prefix: object) -> bool:
        return isinstance(prefix, Prefix) and _key_of(prefix) in self._held

    def __eq__(self, other: object) -> bool:
        return self._held == other._held if isinstance(other, PrefixSet) else NotImplemented

    def __repr__(self) -> str:
        return f"PrefixSet({', '.join(map(str, self))})"

    def has(self, key: int) -> bool:
        """Whether the prefix of that key is there."""
        return key in self._held

    @property
    def leaves_overlay(self) -> bool:
        """Whether there is one that is not of the overlay."""
        return not all(overlay for _version, _length, overlay in self._forms)

    def covers(self, version: int, address: int) -> bool:
        """Whether an address lies in one of them; a look for each length that there is."""
        for family, length, _overlay in self._forms:
            rest = _BITS[version] - length
            if family == version and _key(version, address >> rest << rest, length) in self._held:
                return True
        return False

    def around(self, prefix: Prefix) -> Prefix | None:
        """The smallest other one that holds a prefix; a look for each length that there is."""
        address = int(prefix.network_address)
        for family, length, _overlay in sorted(self._forms, reverse=True):
            rest = _BITS[family] - length
            if family == prefix.version and length < prefix.prefixlen:
                found = self._held.get(_key(family, address >> rest << rest, length))
                if found is not None:
                    return found
        return None

    def inside(self, prefix: Prefix) -> Iterator[Prefix]:
        """The others that a prefix holds, in order."""
        first = _key(prefix.version, int(prefix.network_address), prefix.prefixlen + 1)
        last = _key(prefix.version, int(prefix.broadcast_address), _BITS[6])
        return (each for _key, each in self._held.between(first, last))

    def difference(self, former: PrefixSet) -> tuple[Collection[Prefix], Collection[Prefix]]:
        """What is gone since the former one, and what is fresh; in order."""
        gone, fresh = self._held.difference(former._held)
        return gone.values(), fresh.values()

    def _changed(self, changes: dict[int, Prefix | None], forms: Iterable[_Form]) -> PrefixSet:
        made = PrefixSet()
        gone = [key for key, prefix in changes.items() if prefix is None]
        made._held = self._held.changed(gone, {key: each for key, each in changes.items() if each is not None})
        made._forms = frozenset(forms)
        return made


def prefix_set(prefixes: Iterable[Prefix]) -> PrefixSet:
    """The very same one, where it is one."""
    return prefixes if isinstance(prefixes, PrefixSet) else PrefixSet(prefixes)


class CountedPrefixes:
    """Counts how often each was added; it stays until it was removed as often."""

    def __init__(self) -> None:
        self._times: dict[int, int] = {}
        self._forms: Counter[_Form] = Counter()
        self._changes: dict[int, Prefix | None] = {}
        self._held = PrefixSet()

    def add(self, prefixes: Iterable[Prefix]) -> None:
        for prefix in prefixes:
            key = _key_of(prefix)
            times = self._times[key] = self._times.get(key, 0) + 1
            if times == 1:
                self._note(key, prefix)
                self._forms[_form_of(prefix)] += 1

    def remove(self, prefixes: Iterable[Prefix]) -> None:
        """Raises KeyError for one that is not there."""
        for prefix in prefixes:
            key = _key_of(prefix)
            self._times[key] -= 1
            if not self._times[key]:
                del self._times[key]
                self._note(key, None)
                self._forms[_form_of(prefix)] -= 1

    def _note(self, key: int, prefix: Prefix | None) -> None:
        """One that comes and goes between two looks leaves nothing behind."""
        if self._held.has(key) == (prefix is not None):
            del self._changes[key]
        else:
            self._changes[key] = prefix

    def held(self) -> PrefixSet:
        """All that are there now; the very same set until something changes."""
        if self._changes:
            there = [form for form, times in self._forms.items() if times]
            self._held = self._held._changed(self._changes, there)
            self._changes = {}
        return self._held
