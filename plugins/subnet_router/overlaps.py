"""Which networks lie in which; kept up to date at the cost of what comes and goes. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from appliance.types.addresses import Prefix
from appliance.types.editions import Edition
from appliance.types.ordered_prefixes import CountedPrefixes

Place = tuple[int, int, int]
Overlapping = Edition[Place, tuple[Prefix, Prefix]]
"""Pairs of a network and one inside it, in order of the inner ones: traffic to that takes the more specific way."""


class Overlaps:
    """Of the networks around one only the smallest counts."""

    def __init__(self) -> None:
        self._networks = CountedPrefixes()
        self.pairs: Overlapping = Edition()

    def change(self, gone: Iterable[Prefix], fresh: Iterable[Prefix]) -> None:
        """Take networks away that are there, and add others."""
        left, came = tuple(gone), tuple(fresh)
        self._networks.remove(left)
        self._networks.add(came)
        held = self._networks.held()
        touched = {*left, *came}
        touched.update([inner for each in touched for inner in held.inside(each)])
        outers = {inner: held.around(inner) for inner in touched if inner in held}
        put = {_place(inner): (outer, inner) for inner, outer in outers.items() if outer is not None}
        self.pairs = self.pairs.changed({_place(each) for each in touched} - put.keys(), put)


def _place(prefix: Prefix) -> Place:
    return prefix.version, int(prefix.network_address), prefix.prefixlen
