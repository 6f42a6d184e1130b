"""Known peers: as a plain set would hold them, with one set for all who see each other."""

from __future__ import annotations

import random

import pytest

from appliance.types.ids import NodeId
from control.mapper.known import MAX_SHARED, KnownPeers, SharedSets


def ids(*numbers: int) -> frozenset[NodeId]:
    return frozenset(NodeId(number) for number in numbers)


def test_ok__those_who_see_each_other_share_one_set() -> None:
    shared = SharedSets()
    first, second = KnownPeers(NodeId(1), shared), KnownPeers(NodeId(2), shared)
    first.replace(ids(2, 3))
    second.replace(ids(1, 3))
    assert first._base is second._base
    assert (first.all(), second.all()) == (ids(2, 3), ids(1, 3))
    assert NodeId(1) not in first
    first.change(ids(4), ids(2))
    assert (first.all(), second.all()) == (ids(3, 4), ids(1, 3))


@pytest.mark.parametrize("seed", range(10))
def test_ok__as_a_plain_set(seed: int) -> None:
    rng = random.Random(seed)
    known, model = KnownPeers(NodeId(0), SharedSets()), set[NodeId]()
    for _ in range(300):
        added = ids(*(rng.randrange(1, 400) for _ in range(rng.randrange(5))))
        removed = ids(*(rng.randrange(1, 400) for _ in range(rng.randrange(5)))) - added
        if rng.random() < 0.02:
            known.replace(added)
            model = set(added)
        else:
            known.change(added, removed)
            model = (model - removed) | added
        assert known.all() == model
        probe = NodeId(rng.randrange(400))
        assert (probe in known) == (probe in model)


def test_ok__shared_sets_are_not_gathered_for_ever() -> None:
    shared = SharedSets()
    for number in range(3 * MAX_SHARED):
        shared.of(ids(number))
    assert len(shared._sets) <= MAX_SHARED
