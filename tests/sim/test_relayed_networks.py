"""Random networks with one node more that relays for all: direct where it is possible, else the relay, else DERP."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.types.events import PathKind
from tests.sim.nat import Allocation, Mapping
from tests.sim.plan import NatPlan, NodePlan, Plan, SitePlan, draw
from tests.sim.scenario import play, report


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
    hard = NatPlan(Mapping.ADDRESS_AND_PORT_DEPENDENT, allocation=Allocation.RANDOM)
    plan = Plan(1, (SitePlan((hard,)), SitePlan((hard,), subnet=2)), (NodePlan(0, 11), NodePlan(1, 12)))
    kinds = {users: play(replace(plan, relay_users=users)).pairs[0].path for users in ((0, 1), (0,), ())}
    assert kinds == {(0, 1): PathKind.PEER_RELAY, (0,): PathKind.PEER_RELAY, (): PathKind.DERP}
