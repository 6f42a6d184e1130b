import pytest

from appliance.magicsock.netcheck.home import HomeChooser
from appliance.magicsock.netcheck.report import Report
from appliance.types.ids import RegionId

NOW = 5000.0


def report(latencies, at=NOW):
    return Report(started_at=at, region_latency={RegionId(r): s for r, s in latencies.items()})


def silent(region):
    return None


@pytest.mark.parametrize(
    ("latencies", "home"),
    [
        ({1: 4.0, 2: 3.0}, 1),
        ({1: 4.0, 2: 1.0}, 2),
        ({1: 0.004, 2: 0.001}, 1),
        ({1: 0.034, 2: 0.023}, 1),
        ({2: 0.05}, 2),
    ],
)
def test_ok__cases_of_the_spec_with_home_one(latencies, home):
    chooser = HomeChooser()
    chooser.preferred = RegionId(1)
    assert chooser.choose(report(latencies), NOW, silent) == home


def test_ok__score_favours_a_region():
    chooser = HomeChooser()
    score = {RegionId(1): 0.667}
    assert chooser.choose(report({1: 0.010, 2: 0.008}), NOW, silent, score) == 1
    assert chooser.choose(report({1: 0.100, 2: 0.010}), NOW + 1, silent, score) == 1, "history still knows 10 ms"
    fresh = HomeChooser()
    fresh.preferred = RegionId(1)
    assert fresh.choose(report({1: 0.100, 2: 0.010}), NOW, silent, score) == 2


@pytest.mark.parametrize(("age", "home"), [(38.0, 1), (150.0, 0)])
def test_ok__empty_report_keeps_a_home_that_was_heard(age, home):
    chooser = HomeChooser()
    chooser.preferred = RegionId(1)
    assert chooser.choose(report({}), NOW, lambda region: NOW - age) == home


def test_ok__unmeasured_but_heard_home_stays():
    chooser = HomeChooser()
    chooser.preferred = RegionId(1)
    assert chooser.choose(report({2: 0.001}), NOW, lambda region: NOW - 3) == 1


def test_ok__history_remembers_the_best_for_five_minutes():
    chooser = HomeChooser()
    chooser.choose(report({1: 0.010, 2: 0.100}), NOW, silent)
    assert chooser.choose(report({1: 0.300, 2: 0.100}), NOW + 60, silent) == 1
    assert chooser.choose(report({1: 0.300, 2: 0.100}), NOW + 400, silent) == 2
