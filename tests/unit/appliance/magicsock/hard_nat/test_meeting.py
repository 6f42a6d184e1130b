"""Two NATs on paper: which pings of the two sides pass each other."""

from itertools import count

import pytest

from appliance.magicsock.hard_nat.meeting import (
    BLOCK_PORTS,
    MOST_PINGS,
    chance,
    foretellable,
    pings_needed,
    ports_to_meet,
    stretched,
)
from appliance.ports.randomness import SeededRandomness
from appliance.proto.disco import NatClass, NatMapping, PortRule

APDM, ADM = NatMapping.ADDRESS_AND_PORT_DEPENDENT, NatMapping.ADDRESS_DEPENDENT
ONE = NatClass(APDM, PortRule.SEQUENTIAL, step=1, last=2000)
TWO = NatClass(APDM, PortRule.SEQUENTIAL, step=-2, last=30000)
PER_ADDRESS = NatClass(ADM, PortRule.SEQUENTIAL, step=1, last=5000)
BLOCK = NatClass(APDM, PortRule.BLOCK, low=10000, high=10480)
CHANCE = SeededRandomness(1)


def external(nat, taken, destinations):
    """(port of the NAT, destination) of each ping, when others took so many ports before."""
    numbers = count(taken)
    if nat.mapping is ADM:
        port = nat.last + nat.step * (1 + taken)
        return {(port, to) for to in destinations}
    return {(nat.last + nat.step * (1 + number), to) for number, to in zip(numbers, destinations, strict=False)}


def meetings(a, b, taken_a, taken_b, *, again=False):
    ours = external(a, taken_a, ports_to_meet(a, b, CHANCE, leads=True, again=again))
    theirs = external(b, taken_b, ports_to_meet(b, a, CHANCE, leads=False, again=again))
    return ours & {(to, port) for port, to in theirs}


@pytest.mark.parametrize("taken_a", range(0, 32, 5))
@pytest.mark.parametrize("taken_b", range(0, 32, 5))
def test_ok__whatever_others_took_one_ping_of_each_side_meets(taken_a, taken_b):
    assert len(meetings(ONE, TWO, taken_a, taken_b)) == 1


@pytest.mark.parametrize(("taken_a", "taken_b"), [(0, 0), (3, 8), (31, 0)])
def test_ok__one_port_per_address_is_met_too(taken_a, taken_b):
    assert meetings(PER_ADDRESS, ONE, taken_a, taken_b)
    assert meetings(ONE, PER_ADDRESS, taken_a, taken_b)
    assert meetings(PER_ADDRESS, PER_ADDRESS, taken_a, taken_b)


@pytest.mark.parametrize(("taken_a", "taken_b"), [(0, 0), (3, 8), (31, 0)])
def test_ok__second_round_meets_a_mapping_that_seemed_to_be_another(taken_a, taken_b):
    seems = NatClass(APDM, PortRule.SEQUENTIAL, step=1, last=5000)
    ours = ports_to_meet(seems, seems, CHANCE, leads=True, again=True)
    theirs = ports_to_meet(seems, seems, CHANCE, leads=False, again=True)
    assert 5001 + taken_b in ours
    assert 5001 + taken_a in theirs


def test_ok__blocks_are_tried_within_the_limit():
    ports = ports_to_meet(ONE, BLOCK, CHANCE, leads=True)
    low, high = stretched(BLOCK)
    assert len(set(ports)) == len(ports) <= MOST_PINGS
    assert all(low <= port <= high for port in ports)
    assert pings_needed(BLOCK, PER_ADDRESS) <= MOST_PINGS


def test_ok__few_next_ports_or_none_to_foretell():
    assert foretellable(ONE)
    assert foretellable(BLOCK)
    assert not foretellable(NatClass(APDM, PortRule.BLOCK, low=10000, high=10000 + BLOCK_PORTS))
    assert not foretellable(NatClass(APDM, PortRule.RANDOM))


@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    [
        (ONE, TWO, 0.999, 1.0),
        (ONE, NatClass(APDM, PortRule.SEQUENTIAL, step=1, rate=200.0), 0.0, 0.01),
        (ONE, PER_ADDRESS, 0.999, 1.0),
        (ONE, BLOCK, 0.3, 0.45),
        (BLOCK, BLOCK, 0.1, 0.25),
    ],
)
def test_ok__chance_is_the_same_for_both_sides(one, other, low, high):
    assert low <= chance(one, other) <= high
    assert chance(one, other) == pytest.approx(chance(other, one))
