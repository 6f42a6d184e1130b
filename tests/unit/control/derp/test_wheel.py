"""The timing wheel hands out each item once, at its time or up to a slot later."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from control.derp.wheel import TimingWheel


def test_ok__set_again_replaces() -> None:
    wheel: TimingWheel[str] = TimingWheel(100.0)
    wheel.set("a", 105.0)
    wheel.set("a", 110.0)
    wheel.set("b", 104.5)
    wheel.set("c", 103.0)
    wheel.discard("c")
    assert list(wheel.due(104.0)) == []
    assert list(wheel.due(106.0)) == ["b"]
    assert list(wheel.due(110.0)) == ["a"]
    assert len(wheel) == 0


def test_ok__long_silence_loses_nothing() -> None:
    wheel: TimingWheel[int] = TimingWheel(0.0)
    for item in range(100):
        wheel.set(item, float(item))
    assert sorted(wheel.due(1e6)) == list(range(100))


@given(st.lists(st.floats(0.1, 120.0), max_size=20), st.lists(st.floats(0.0, 20.0), max_size=30))
def test_ok__never_early_at_most_a_slot_late(times: list[float], steps: list[float]) -> None:
    wheel: TimingWheel[int] = TimingWheel(50.0)
    now, waiting = 50.0, {}
    for item, after in enumerate(times):
        wheel.set(item, now + after)
        waiting[item] = now + after
    for step in [*steps, 200.0]:
        now += step
        for item in wheel.due(now):
            assert waiting.pop(item) <= now
        assert all(at > now - 1.0 for at in waiting.values())
    assert not waiting


def test_ok__may_be_set_again_while_due() -> None:
    wheel: TimingWheel[str] = TimingWheel(0.0)
    wheel.set("a", 1.0)
    for item in wheel.due(1.0):
        wheel.set(item, 2.0)
    assert list(wheel.due(2.0)) == ["a"]
