"""Random networks by seed. A failing seed prints its story; `python -m tests.sim --show SEED` shrinks and tells it."""

import os
from dataclasses import replace

import pytest

from tests.sim.__main__ import read_log, run, seed_range
from tests.sim.outcome import parse_line, summary
from tests.sim.plan import draw
from tests.sim.scenario import play, report
from tests.sim.shrink import shrink, simplifications


@pytest.mark.timeout(60)
@pytest.mark.parametrize("first", range(0, 40, 10))
def test_ok__what_must_hold_in_any_network(first):
    for seed in range(first, first + 10):
        outcome = play(seed)
        assert not outcome.problems, report(outcome)


def test_ok__same_seed_same_run():
    assert play(7).timeline == play(7).timeline
    assert play(7).timeline != play(8).timeline


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_ok__ten_thousand_networks():
    outcomes = run(range(10_000, 20_000), os.cpu_count() or 1, None)
    result = summary(outcomes, 1.0)
    print(result)
    assert result["failed"] == []


def test_ok__seed_ranges_and_summary():
    assert list(seed_range("3-5")) == [3, 4, 5]
    assert list(seed_range("4")) == [4]
    result = summary([play(1)], 1.0)
    assert result["networks"] == 1
    assert result["failed"] == []


def test_ok__interrupted_run_goes_on(tmp_path):
    log = tmp_path / "log"
    first = run(range(2), 1, log)
    with log.open("a") as file:
        file.write('{"seed":2,"probl')  # cut off in the middle of a line
    assert [outcome.seed for outcome in read_log(log, range(10))] == [0, 1]
    assert [outcome.line() for outcome in read_log(log, range(10))] == [outcome.line() for outcome in first]


def test_ok__outcome_survives_its_line():
    outcome = play(3)
    outcome.problem("late", "for the test")
    again = parse_line(outcome.line())
    assert (again.seed, again.problems, again.pairs) == (outcome.seed, outcome.problems, outcome.pairs)


@pytest.mark.timeout(60)
def test_ok__failure_is_shrunk_to_what_it_needs(monkeypatch):
    """A node that never answers pings stands for a broken path finder; what has nothing to do with it goes away."""
    from appliance.magicsock.receiver import DiscoReceiver

    monkeypatch.setattr(DiscoReceiver, "_may_answer", lambda *_: False)
    seed = next(seed for seed in range(100) if len(draw(seed).nodes) == 5)
    plan, outcome = draw(seed), play(seed)
    assert any(problem.kind == "never direct" for problem in outcome.problems)
    shortest, shown = shrink(plan, outcome, tries=40)
    assert len(shortest.nodes) == 2
    assert shortest.fault is None
    assert "never direct" in report(shown)


def test_ok__every_simplification_can_be_played():
    plan = next(plan for plan in map(draw, range(1, 200, 2)) if plan.carriers and len(plan.nodes) == 2)
    simpler = list(simplifications(plan))
    assert simpler
    assert all(other != plan for other in simpler)
    play(replace(simpler[-1], fault=None))
