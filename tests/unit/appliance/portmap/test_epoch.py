from __future__ import annotations

import pytest

from appliance.portmap.epoch import EpochWatch


@pytest.mark.parametrize(
    ("epoch", "after_s", "lives"),
    [
        (1060, 60, True),
        (1063, 60, True),  # a datagram was late
        (1056, 60, True),  # a slow clock
        (999, 0, True),
        (990, 0, False),
        (5, 60, False),
        (1000, 60, False),  # stood still: it lost time, and so perhaps state
        (1200, 60, False),
        (4400, 3600, True),  # a sixteenth wrong
        (3900, 3600, False),
    ],
)
def test_ok__counter_beside_time(epoch: int, after_s: float, lives: bool) -> None:
    watch = EpochWatch()
    assert watch.heard(1000, 50.0)
    assert watch.heard(epoch, 50.0 + after_s) is lives


def test_ok__the_new_counter_is_the_one_to_compare_with() -> None:
    watch = EpochWatch()
    watch.heard(1000, 50.0)
    assert not watch.heard(0, 60.0)
    assert watch.heard(10, 70.0)


def test_ok__forgotten() -> None:
    watch = EpochWatch()
    watch.heard(1000, 50.0)
    watch.forget()
    assert watch.heard(0, 60.0)
