"""Verdicts of several plugins become one; step by step as from the start."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.api import OfferedRoute, OfferedRoutes, RouteSelection
from appliance.pluginhost.selections import SelectionMerger

DEFAULT = "0.0.0.0/0"
PREFIXES = (DEFAULT, "10.0.0.0/8", "10.1.0.0/16")


class Conflicts:
    def __init__(self) -> None:
        self.found: list[tuple[str, str, str]] = []

    def conflicts(self, kind: str, found: Sequence[tuple[str, str, str]]) -> None:
        assert kind == "peer route"
        self.found = list(found)


def test_ok__the_way_belongs_to_whom_the_route_belongs_to() -> None:
    sink, merger = Conflicts(), SelectionMerger()
    mine, other = OfferedRoute(DEFAULT, "n1"), OfferedRoute(DEFAULT, "n2")
    parts = [("a", RouteSelection({DEFAULT: ""}, via=(mine,))), ("b", RouteSelection({DEFAULT: ""}, via=(other,)))]
    assert merger.merge(parts, OfferedRoutes((mine, other)), sink).via == (mine,)
    assert sink.found == [(DEFAULT, "a", "b")]
    assert merger.merge(parts, OfferedRoutes(), sink).via == (), "nobody offers it any more"
    assert sink.found == []


def test_ok__routes_that_give_way_are_joined() -> None:
    parts = [
        ("a", RouteSelection({"10.0.0.0/8": ""}, own_first=("10.0.0.0/8",))),
        ("b", RouteSelection({"10.1.0.0/16": ""}, own_first=("10.1.0.0/16",))),
    ]
    offered = OfferedRoutes(OfferedRoute(prefix, "n1") for prefix in PREFIXES)
    assert SelectionMerger().merge(parts, offered, Conflicts()).own_first == ("10.0.0.0/8", "10.1.0.0/16")


def naive(
    parts: list[tuple[str, RouteSelection]], offered: frozenset[str]
) -> tuple[dict[str, str], set[tuple[str, ...]]]:
    """Verdicts and conflicts, by looking at everything."""
    verdicts: dict[str, str] = {}
    owners: dict[str, str] = {}
    conflicts: set[tuple[str, ...]] = set()
    for name, part in parts:
        for prefix, reason in part.verdicts.items():
            if prefix not in offered:
                continue
            if owners.setdefault(prefix, name) == name:
                verdicts[prefix] = reason
            else:
                conflicts.add((prefix, owners[prefix], name))
    return verdicts, conflicts


SELECTIONS = st.builds(
    RouteSelection,
    st.dictionaries(st.sampled_from(PREFIXES), st.sampled_from(("", "taken"))),
    st.sampled_from(((), ("192.168.1.0/24",))),
)
STEPS = st.tuples(
    st.frozensets(st.sampled_from(PREFIXES)),
    st.dictionaries(st.sampled_from(("a", "b", "c")), SELECTIONS),
)


@pytest.mark.timeout(60)
@settings(max_examples=200)
@given(st.lists(STEPS, max_size=8))
def test_ok__step_by_step_as_from_the_start(steps: list[tuple[frozenset[str], dict[str, RouteSelection]]]) -> None:
    merger, sink = SelectionMerger(), Conflicts()
    for prefixes, selections in steps:
        parts = list(selections.items())
        offered = OfferedRoutes(OfferedRoute(prefix, "n1") for prefix in prefixes)
        found = merger.merge([*parts, ("silent", None)], offered, sink)
        verdicts, conflicts = naive(parts, prefixes)
        assert found.verdicts == verdicts
        assert set(sink.found) == conflicts
        assert set(found.throws) == {prefix for _, part in parts for prefix in part.throws}
