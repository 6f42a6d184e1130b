"""The source space of one IP version, cut at every boundary of a rule's sources. Pure.

Pieces that the same destinations are open to form a class. A change of rules cuts anew only where sources came or went
(`windows`), so its cost follows what changes, not how many rules there are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from appliance.router.destinations import Destinations, Opened, destinations_of
from appliance.router.ranges import LAST, Interval, intersect, merge, replaced, subtract
from appliance.types.editions import Edition

SourceClass = tuple[Destinations, tuple[Interval, ...]]
"""What is open, and to which sources: disjoint intervals in order."""


@dataclass(eq=False, slots=True)
class Bundle:
    """Rules that open the same destinations, as one. `sources` by IP version, merged."""

    opened: Opened
    sources: dict[int, list[Interval]] = field(default_factory=dict)

    @property
    def versions(self) -> frozenset[int]:
        return frozenset(entry[0] for entry in self.opened[0])


@dataclass(frozen=True, slots=True)
class Piece:
    first: int
    last: int
    bundles: tuple[Bundle, ...]
    opens: Destinations


class Pieces:
    """Those of one IP version, and the classes that they form, each by its first address."""

    def __init__(self, version: int) -> None:
        self._version = version
        self.pieces: Edition[int, Piece] = Edition()
        self.classes: Edition[int, SourceClass] = Edition()
        """One that did not change is the very same object as before."""
        self._by_opened: dict[Destinations, SourceClass] = {}

    def update(self, windows: Sequence[Interval], changed: Iterable[Bundle]) -> None:
        """Cut anew within the windows (merged). `changed` bundles may have come, gone or hold other sources now.

        Raises `FilterError`; what is here is then of no more use.
        """
        if not windows:
            return
        old = {piece.first: piece for window in windows for piece in self._within(window)}
        concerned = dict.fromkeys(bundle for piece in old.values() for bundle in piece.bundles) | dict.fromkeys(changed)
        cut = list(self._cut(concerned, windows))
        left = [rest for piece in old.values() for rest in _outside(piece, windows)]
        self.pieces = self.pieces.changed(old, {piece.first: piece for piece in (*left, *cut)})
        fresh: dict[Destinations, list[Interval]] = defaultdict(list)
        for piece in cut:
            fresh[piece.opens].append((piece.first, piece.last))
        touched = dict.fromkeys((*(piece.opens for piece in old.values()), *fresh))
        self._change_classes(touched, windows, fresh)

    def _within(self, window: Interval) -> Iterator[Piece]:
        """Pieces that share an address with the window."""
        first, last = window
        before = self.pieces.at_or_before(first)
        if before is not None and before[1].last >= first:
            yield before[1]
        for _first, piece in self.pieces.between(first + 1, last):
            yield piece

    def _cut(self, bundles: Iterable[Bundle], windows: Sequence[Interval]) -> Iterator[Piece]:
        listed = list(bundles)
        remembered: dict[int, tuple[tuple[Bundle, ...], Destinations]] = {}
        for members, (first, last) in _atoms(
            intersect(each.sources.get(self._version, ()), windows) for each in listed
        ):
            if members not in remembered:
                own = tuple(listed[index] for index in _bits(members))
                remembered[members] = own, destinations_of(self._version, tuple(each.opened for each in own))
            yield Piece(first, last, *remembered[members])

    def _change_classes(
        self, touched: Iterable[Destinations], windows: Sequence[Interval], fresh: Mapping[Destinations, list[Interval]]
    ) -> None:
        """All that change go before the first one comes: one may begin where another began."""
        gone: list[int] = []
        changed: dict[int, SourceClass] = {}
        for opens in touched:
            before = self._by_opened.get(opens, (opens, ()))[1]
            intervals = replaced(before, windows, merge(fresh.get(opens, ())))
            if intervals == before:
                continue
            if before:
                gone.append(before[0][0])
                del self._by_opened[opens]
            if intervals:
                changed[intervals[0][0]] = self._by_opened[opens] = (opens, intervals)
        self.classes = self.classes.changed(gone, changed)


def everything(version: int) -> list[Interval]:
    """The window of all addresses."""
    return [(0, LAST[version])]


def _outside(piece: Piece, windows: Sequence[Interval]) -> Iterator[Piece]:
    for first, last in subtract([(piece.first, piece.last)], windows):
        yield Piece(first, last, piece.bundles, piece.opens)


def _atoms(sources: Iterable[Sequence[Interval]]) -> Iterator[tuple[int, Interval]]:
    """Intervals without a boundary inside, each with the bit set of those that it belongs to."""
    toggles: dict[int, int] = defaultdict(int)
    for index, intervals in enumerate(sources):
        for first, last in intervals:
            toggles[first] ^= 1 << index
            toggles[last + 1] ^= 1 << index
    members = previous = 0
    for boundary in sorted(toggles):
        if members:
            yield members, (previous, boundary - 1)
        members ^= toggles[boundary]
        previous = boundary


def _bits(members: int) -> Iterator[int]:
    while members:
        low = members & -members
        yield low.bit_length() - 1
        members ^= low
