"""Beginnings and ends that two sequences share."""

from operator import ne

from hypothesis import given
from hypothesis import strategies as st

from appliance.types.sequences import common_ends

few = st.lists(st.integers(0, 2), max_size=8)


@given(few, few)
def test_ok__as_long_as_can_be(former, now):
    head, tail = common_ends(former, now, ne)
    assert former[:head] == now[:head]
    assert former[len(former) - tail :] == now[len(now) - tail :]
    assert head + tail <= min(len(former), len(now))
    left, right = former[head : len(former) - tail], now[head : len(now) - tail]
    if left and right:
        assert left[0] != right[0]
        assert left[-1] != right[-1]
    if former == now:
        assert head == len(now)
