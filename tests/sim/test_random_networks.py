"""Random networks by seed. A failing seed prints its story; `python -m tests.sim --show SEED` plays it again."""

import pytest

from tests.sim.__main__ import seed_range, summary
from tests.sim.network import Filtering, Mapping
from tests.sim.oracle import PUBLIC, Side, chain, direct_possible
from tests.sim.scenario import play, report


@pytest.mark.timeout(60)
@pytest.mark.parametrize("first", range(0, 80, 10))
def test_ok__what_must_hold_in_any_network(first):
    for seed in range(first, first + 10):
        outcome = play(seed)
        assert not outcome.problems, report(outcome)


def test_ok__same_seed_same_run():
    assert play(7).timeline == play(7).timeline
    assert play(7).timeline != play(8).timeline


@pytest.mark.long
@pytest.mark.timeout(900)
def test_ok__many_networks():
    for seed in range(10_000, 12_000):
        outcome = play(seed)
        assert not outcome.problems, report(outcome)


EASY = Side(Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT)
RESTRICTED = Side(Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_DEPENDENT)
HARD = Side(Mapping.ADDRESS_AND_PORT_DEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT)


@pytest.mark.parametrize(
    ("a", "b", "possible"),
    [(EASY, EASY, True), (EASY, HARD, False), (HARD, HARD, False), (PUBLIC, HARD, True), (RESTRICTED, HARD, True)],
)
def test_ok__oracle_knows_the_table_of_the_spec(a, b, possible):
    assert direct_possible(a, b) is direct_possible(b, a) is possible


def test_ok__chain_is_as_bad_as_its_worst():
    assert chain(EASY, HARD) == HARD
    assert not direct_possible(chain(PUBLIC, Side(Mapping.ENDPOINT_INDEPENDENT, Filtering(0), True)), PUBLIC)


def test_ok__seed_ranges_and_summary():
    assert list(seed_range("3-5")) == [3, 4, 5]
    assert list(seed_range("4")) == [4]
    result = summary([play(1)], 1.0)
    assert result["networks"] == 1
    assert result["failed"] == []
