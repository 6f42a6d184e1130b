"""Random networks with one node more that relays for all: direct where it is possible, else the relay, else DERP."""

from __future__ import annotations

import pytest

from appliance.types.events import PathKind
from tests.sim.plan import Plan, draw
from tests.sim.relay import RelayedNetwork
from tests.sim.scenario import play, report


def check(seed: int) -> int:
    """Everything that must hold without a relay holds; how many pairs ended on the relay."""
    plan = draw(seed)
    made: list[RelayedNetwork] = []

    def make(drawn: Plan) -> RelayedNetwork:
        made.append(RelayedNetwork(drawn))
        return made[0]

    outcome = play(plan, make)
    assert not outcome.problems, report(outcome)
    numbers = {node: number for number, node in enumerate(made[0].nodes)}
    for pair, shown in zip(made[0].pairs(), outcome.pairs, strict=True):
        open_to_udp = not plan.blocked(numbers[pair.a]) and not plan.blocked(numbers[pair.b])
        if open_to_udp:
            assert shown.path != PathKind.DERP, f"seed {seed}, {pair}: a relay was there\n{report(outcome)}"
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
