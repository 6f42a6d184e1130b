"""`better` never prefers each of two to the other."""

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.magicsock.scoring import ProvenPath, better, worth_a_move
from appliance.types.addresses import AddrPort

paths = st.builds(
    ProvenPath,
    st.builds(AddrPort, st.sampled_from(["192.0.2.1", "10.0.0.1", "2001:db8::1", "fe80::1", "::1"]), st.integers(1, 9)),
    st.floats(0, 5),
    st.sampled_from([1280, 1360, 1500]),
    st.sampled_from([None, None, 7]),
)


@settings(max_examples=200, deadline=None)
@given(paths, paths)
def test_ok__not_both_ways(a, b):
    assert not (better(a, b) and better(b, a))
    assert not (worth_a_move(a, b) and not better(a, b))


@settings(max_examples=200, deadline=None)
@given(paths)
def test_fail__nothing_is_better_than_itself(a):
    assert not better(a, a)
