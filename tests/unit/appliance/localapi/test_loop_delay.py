"""The event loop's delay, measured on a clock of the test."""

from __future__ import annotations

import time

import pytest

from appliance.localapi.loop_delay import INTERVAL_S, measure


async def test_ok__a_late_wake_up_is_the_worst() -> None:
    clock = [100.0]
    late = iter([0.0, 0.030, 0.001] + [0.0] * 1000)

    async def sleep(seconds: float) -> None:
        clock[0] += seconds + next(late)

    delay = await measure(0.1, lambda: clock[0], sleep)
    assert delay.worst_s == pytest.approx(0.030)
    assert delay.samples == pytest.approx((0.1 - 0.031) / INTERVAL_S, abs=2)


async def test_ok__nothing_to_measure() -> None:
    assert (await measure(0.0)).samples == 0


async def test_ok__a_blocked_loop_shows() -> None:
    async def sleep(_seconds: float) -> None:
        time.sleep(0.02)  # the very fault that is measured

    assert (await measure(0.03, sleep=sleep)).worst_s > 0.015
