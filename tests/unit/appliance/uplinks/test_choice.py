from __future__ import annotations

import pytest

from appliance.uplinks.choice import PROVEN, Policy, choose, in_question
from appliance.uplinks.meter import Condition, Quality

ORDER = ("fibre", "lte")


def good(latency_s: float = 0.02, *, proven: bool = True, at: float = 100.0) -> Quality:
    return Quality(Condition.GOOD, latency_s, 0.0, 20, PROVEN if proven else 1, at)


def bad(condition: Condition, since: float = 90.0) -> Quality:
    return Quality(condition, 0.02, 0.5, 20, 0, 80.0, since)


UNKNOWN = Quality()


@pytest.mark.parametrize(
    ("fibre", "lte", "current", "chosen"),
    [
        (UNKNOWN, UNKNOWN, "", "fibre"),
        (None, UNKNOWN, "", "lte"),
        (None, None, "fibre", ""),
        (None, good(), "fibre", "lte"),
        (good(), good(0.001), "fibre", "fibre"),
        (bad(Condition.DOWN), good(), "fibre", "lte"),
        (bad(Condition.DOWN, since=150.0), good(at=100.0), "fibre", "fibre"),  # the servers may be down
        (bad(Condition.DOWN), UNKNOWN, "fibre", "fibre"),
        (bad(Condition.DOWN), bad(Condition.DOWN), "fibre", "fibre"),
        (bad(Condition.LOSSY), good(0.2), "fibre", "lte"),
        (good(proven=False), good(), "lte", "lte"),
        (good(), good(), "lte", "fibre"),
        (bad(Condition.LOSSY), good(), "lte", "lte"),
    ],
)
def test_ok__by_order(fibre: Quality | None, lte: Quality | None, current: str, chosen: str) -> None:
    known = {name: quality for name, quality in (("fibre", fibre), ("lte", lte)) if quality is not None}
    assert choose(Policy.ORDER, ORDER, known, current) == chosen


@pytest.mark.parametrize(
    ("fibre", "lte", "current", "chosen"),
    [
        (good(0.050), good(0.020), "fibre", "lte"),
        (good(0.025), good(0.020), "fibre", "fibre"),
        (good(0.200), good(0.150), "fibre", "fibre"),
        (good(0.050), good(0.020, proven=False), "fibre", "fibre"),
        (good(0.050), bad(Condition.LOSSY), "fibre", "fibre"),
        (bad(Condition.LOSSY), good(0.900), "fibre", "lte"),
    ],
)
def test_ok__the_fastest(fibre: Quality, lte: Quality, current: str, chosen: str) -> None:
    assert choose(Policy.FASTEST, ORDER, {"fibre": fibre, "lte": lte}, current) == chosen


def test_ok__standby_is_measured_often_only_when_it_matters() -> None:
    def asked(policy: Policy, fibre: Quality, lte: Quality, current: str, name: str) -> bool:
        return in_question(policy, ORDER, {"fibre": fibre, "lte": lte}, current, name)

    assert not asked(Policy.ORDER, good(), good(), "fibre", "lte")
    assert asked(Policy.ORDER, good(), UNKNOWN, "fibre", "lte")
    assert asked(Policy.ORDER, bad(Condition.DOWN), good(), "fibre", "lte")
    assert asked(Policy.ORDER, Quality(silent_since=99.0), good(), "fibre", "lte"), "at the first lost probe"
    assert asked(Policy.ORDER, good(), good(), "lte", "fibre"), "it is preferred and works again"
    assert not asked(Policy.ORDER, bad(Condition.DOWN), good(), "lte", "fibre")
    assert asked(Policy.ORDER, good(), good(), "fibre", "fibre")


def wide(up_rate: float | None, *, proven: bool = True) -> Quality:
    return Quality(Condition.GOOD, 0.02, 0.0, 20, PROVEN if proven else 1, 100.0, up_rate=up_rate)


@pytest.mark.parametrize(
    ("fibre", "lte", "current", "chosen"),
    [
        (wide(1e6), wide(4e6), "fibre", "lte"),
        (wide(1e6), wide(1.2e6), "fibre", "fibre"),
        (wide(1e6), wide(4e6, proven=False), "fibre", "fibre"),
        (wide(1e6), bad(Condition.LOSSY), "fibre", "fibre"),
        (wide(None), wide(4e6), "fibre", "fibre"),  # not measured: by order
        (wide(1e6), wide(None), "lte", "fibre"),
        (wide(None), wide(None), "lte", "fibre"),
    ],
)
def test_ok__the_widest(fibre: Quality, lte: Quality, current: str, chosen: str) -> None:
    assert choose(Policy.WIDEST, ORDER, {"fibre": fibre, "lte": lte}, current) == chosen
