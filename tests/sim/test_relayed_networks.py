"""Random networks with one node more that relays for all: direct where it is possible, else the relay, else DERP."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest

from appliance.magicsock.relays.manager import RelayManager
from appliance.types.events import PathKind
from tests.sim.nat import Allocation, Mapping
from tests.sim.plan import NatPlan, NodePlan, Plan, SitePlan, draw
from tests.sim.scenario import play, report
from tests.sim.shrink import simplifications

_HARD = NatPlan(Mapping.ADDRESS_AND_PORT_DEPENDENT, allocation=Allocation.RANDOM)
TWO_HARD = Plan(1, (SitePlan((_HARD,)), SitePlan((_HARD,), subnet=2)), (NodePlan(0, 11), NodePlan(1, 12)))


def check(seed: int) -> int:
    """Everything holds that must; how many pairs ended on the relay."""
    plan = draw(seed)
    outcome = play(replace(plan, relay_users=tuple(range(len(plan.nodes)))))
    assert not outcome.problems, report(outcome)
    return sum(shown.path == PathKind.PEER_RELAY for shown in outcome.pairs)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("seed", [3, 4, 12, 17, 30, 35, 40, 49, 59])
def test_ok__the_relay_is_second_best_in_any_network(seed):
    """Seeds of networks in which some pair needs it, but the first; with and without a fault."""
    check(seed)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_ok__in_many_networks():
    print(sum(check(seed) for seed in range(1000, 1500)), "pairs went by the relay")


def test_fail__without_a_grant_the_pair_stays_on_derp():
    """The same network with a relay for everybody, for one, and for nobody."""
    kinds = {users: play(replace(TWO_HARD, relay_users=users)).pairs[0].path for users in ((0, 1), (0,), ())}
    assert kinds == {(0, 1): PathKind.PEER_RELAY, (0,): PathKind.PEER_RELAY, (): PathKind.DERP}


def test_fail__relay_that_is_never_asked_is_a_problem(monkeypatch):
    monkeypatch.setattr(RelayManager, "_wants", lambda *_: False)
    problems = play(replace(TWO_HARD, relay_users=(0, 1))).problems
    assert {problem.kind for problem in problems} == {"not relayed"}


def test_fail__relay_for_everybody_is_a_problem_where_nobody_has_the_right(monkeypatch):
    monkeypatch.setattr(Plan, "relayed", lambda *_: False)
    problems = play(replace(TWO_HARD, relay_users=(0, 1))).problems
    assert {problem.kind for problem in problems} == {"no grant"}


def test_ok__rights_move_with_their_nodes_when_a_story_is_shortened():
    plan = next(plan for plan in map(draw, range(100)) if len(plan.nodes) == 5)
    plan = replace(plan, relay_users=(1, 3), fault=None)
    users = [simpler.relay_users for simpler in islice(simplifications(plan), 5)]
    assert users == [(0, 2), (2,), (1, 2), (1,), (1, 3)]
