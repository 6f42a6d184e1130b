"""The routes that peers serve, as one value that plugins can compare with the one before."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from appliance.api.values import OfferedRoute
from appliance.types.editions import Edition

_LAST = chr(0x10FFFF)


class OfferedRoutes(Collection[OfferedRoute]):
    """Never changes. In order of the prefixes' texts; the next one shares with it what did not change."""

    __slots__ = ("_held",)

    def __init__(self, routes: Iterable[OfferedRoute] = ()) -> None:
        self._held = Edition({_key(each): each for each in routes})

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[OfferedRoute]:
        return iter(self._held.values())

    def __contains__(self, route: object) -> bool:
        return isinstance(route, OfferedRoute) and _key(route) in self._held

    def __eq__(self, other: object) -> bool:
        return self._held == other._held if isinstance(other, OfferedRoutes) else NotImplemented

    def __repr__(self) -> str:
        return f"OfferedRoutes({tuple(self)})"

    def of(self, prefix: str) -> tuple[OfferedRoute, ...]:
        """Who serves a prefix."""
        return tuple(route for _key, route in self._held.between((prefix, ""), (prefix, _LAST)))

    def difference(self, former: OfferedRoutes) -> tuple[frozenset[str], frozenset[str]]:
        """Prefixes that nobody serves any more, and those that others than formerly do; at the cost of what differs."""
        gone, fresh = self._held.difference(former._held)
        served = {prefix for prefix, _stable_id in fresh}
        left = {prefix for prefix, _stable_id in gone} - served
        lost = frozenset(prefix for prefix in left if not self.of(prefix))
        return lost, frozenset(served | (left - lost))

    def changed(self, gone: Iterable[OfferedRoute], fresh: Iterable[OfferedRoute]) -> OfferedRoutes:
        made = OfferedRoutes()
        made._held = self._held.changed(map(_key, gone), {_key(each): each for each in fresh})
        return made


def plain(value: object) -> object:
    """For encoders, which know only plain types: the ordered collections of this API as one. Raises TypeError."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Collection):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no plain form")


def _key(route: OfferedRoute) -> tuple[str, str]:
    return route.prefix, route.stable_id
