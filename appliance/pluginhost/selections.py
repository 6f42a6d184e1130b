"""Joins the verdicts of several plugins on the routes that peers offer. What did not change is not looked at again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from appliance.api.offered import OfferedRoutes
from appliance.api.values import OfferedRoute, RouteSelection
from appliance.pluginhost.merging import ConflictSink
from appliance.types.editions import Edition, edition

Verdicts = Edition[str, str]
_NONE: Verdicts = Edition()


class SelectionMerger:
    """The earlier plugin keeps a prefix; what nobody offers is left out, for a verdict may be of an earlier call."""

    def __init__(self) -> None:
        self._offered = OfferedRoutes()
        self._former: Mapping[str, Verdicts] = {}
        self._merged = _NONE
        self._conflicts: dict[str, list[tuple[str, str, str]]] = {}

    def merge(
        self, parts: Sequence[tuple[str, RouteSelection | None]], offered: OfferedRoutes, sink: ConflictSink
    ) -> RouteSelection:
        found = [(name, part) for name, part in parts if part is not None]
        now = {name: edition(part.verdicts) for name, part in found}
        lost, served = offered.difference(self._offered)
        judged = self._judged_anew(now) - lost - served
        self._join(lost, {*served, *(prefix for prefix in judged if offered.of(prefix))}, now)
        self._offered, self._former = offered, now
        sink.conflicts("peer route", [each for conflicts in self._conflicts.values() for each in conflicts])
        throws = sorted({prefix for _, part in found for prefix in part.throws})
        own_first = tuple({prefix: None for _, part in found for prefix in part.own_first})
        return RouteSelection(self._merged, tuple(throws), tuple(self._ways(found, now).values()), own_first)

    def _judged_anew(self, now: Mapping[str, Verdicts]) -> set[str]:
        """Prefixes of which plugins say something else; those in conflict, for the order of the plugins may differ."""
        touched = set(self._conflicts)
        for name in {**self._former, **now}:
            for verdicts in now.get(name, _NONE).difference(self._former.get(name, _NONE)):
                touched.update(verdicts)
        return touched

    def _join(self, lost: Iterable[str], served: set[str], now: Mapping[str, Verdicts]) -> None:
        put: dict[str, str] = {}
        for prefix in (*lost, *served):
            self._conflicts.pop(prefix, None)
        for prefix in served:
            said = [(name, reason) for name, verdicts in now.items() if (reason := verdicts.get(prefix)) is not None]
            if said:
                owner, put[prefix] = said[0]
            if len(said) > 1:
                self._conflicts[prefix] = [(prefix, owner, name) for name, _reason in said[1:]]
        self._merged = self._merged.changed({*lost, *served} - put.keys(), put)

    def _ways(
        self, found: Sequence[tuple[str, RouteSelection]], now: Mapping[str, Verdicts]
    ) -> Mapping[str, OfferedRoute]:
        """Of whom the verdict on a prefix is, of him is the way to it."""
        ways: dict[str, OfferedRoute] = {}
        for name, part in found:
            for each in part.via:
                owner = next((judge for judge, verdicts in now.items() if each.prefix in verdicts), "")
                if owner == name and each.prefix in self._merged:
                    ways[each.prefix] = each
        return ways
