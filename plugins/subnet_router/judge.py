"""Judges the subnets that peers offer. Pure; what was judged before is not judged again while nothing else changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from appliance.api import AttachedPrefix, OfferedRoutes, RouteSelection
from appliance.types.addresses import Prefix, known_prefix
from appliance.types.editions import Edition
from plugins.subnet_router.overlaps import Overlapping, Overlaps
from plugins.subnet_router.rules import contains, gives_way, is_conflict, verdict

Texts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """`conflicts` are refusals that people should know of, with the reason. `overlaps` are of all networks of the mesh
    that are used or offered here."""

    selection: RouteSelection = field(default_factory=RouteSelection)
    conflicts: Edition[str, str] = field(default_factory=Edition)
    overlaps: Overlapping = field(default_factory=Edition)


class RouteJudge:
    """Follows what is offered from one call to the next."""

    def __init__(self) -> None:
        self._setting: tuple[tuple[AttachedPrefix, ...], Texts, Texts, Texts, Texts, Texts] = (), (), (), (), (), ()
        self._start_over()

    def _start_over(self) -> None:
        attached, wanted, unwanted, only, own_first, mesh_first = self._setting
        self._lans = [(known_prefix(lan.prefix), lan) for lan in attached]
        self._own = frozenset(map(known_prefix, wanted))
        self._shut = [known_prefix(text) for text in unwanted]
        self._only = [known_prefix(text) for text in only]
        self._own_first = [known_prefix(text) for text in own_first]
        self._mesh_first = [known_prefix(text) for text in mesh_first]
        self._giving_way: dict[str, None] = {}
        self._offered = OfferedRoutes()
        self._verdicts: Edition[str, str] = Edition()
        self._conflicts: Edition[str, str] = Edition()
        self._throws: Counter[str] = Counter()
        self._overlaps = Overlaps()
        self._overlaps.change((), self._own)

    def judge(
        self,
        offered: OfferedRoutes,
        attached: Iterable[AttachedPrefix],
        wanted: Iterable[str],
        unwanted: Iterable[str] = (),
        only: Iterable[str] = (),
        own_first: Iterable[str] = (),
        mesh_first: Iterable[str] = (),
    ) -> Judgement:
        """`wanted` is what this gateway offers itself; `unwanted`, what the settings refuse; `only`, if not empty, what
        they take alone; `own_first`, where the host's routes go first, but for `mesh_first`."""
        limits = tuple(unwanted), tuple(only)
        setting = tuple(attached), tuple(wanted), *limits, tuple(own_first), tuple(mesh_first)
        if setting != self._setting:
            self._setting = setting
            self._start_over()
        lost, served = offered.difference(self._offered)
        self._offered = offered
        if lost or served:
            self._take({text: self._verdict(text) for text in served}, lost | served)
        throws = tuple(sorted(text for text, times in self._throws.items() if times))
        selection = RouteSelection(self._verdicts, throws, own_first=tuple(self._giving_way))
        return Judgement(selection, self._conflicts, self._overlaps.pairs)

    def _verdict(self, text: str) -> str | None:
        return verdict(known_prefix(text), self._lans, self._own, self._shut, self._only)

    def _take(self, found: dict[str, str | None], touched: frozenset[str]) -> None:
        put = {text: reason for text, reason in found.items() if reason is not None}
        former, gone = self._verdicts, touched - put.keys()
        self._verdicts = former.changed(gone, put)
        said = {text: reason for text, reason in put.items() if is_conflict(reason)}
        self._conflicts = self._conflicts.changed(touched - said.keys(), said)
        before = {known_prefix(text) for text in touched if former.get(text) == ""}
        now = {known_prefix(text) for text, reason in put.items() if not reason}
        self._throws.subtract(self._thrown(before - now))
        self._throws.update(self._thrown(now - before))
        self._overlaps.change(before - now, now - before)
        for each in before - now:
            self._giving_way.pop(str(each), None)
        fresh = (each for each in now - before if gives_way(each, self._own_first, self._mesh_first))
        self._giving_way.update(dict.fromkeys(map(str, fresh)))

    def _thrown(self, accepted: Iterable[Prefix]) -> list[str]:
        """Attached networks inside accepted ones."""
        return [lan.prefix for each in accepted for network, lan in self._lans if contains(each, network)]
