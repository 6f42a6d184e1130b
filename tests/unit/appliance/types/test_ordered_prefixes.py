"""Prefixes in order, whatever comes and goes."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.types.ordered_prefixes import OrderedPrefixes

PREFIXES = [ip_network(text) for text in ("10.0.0.0/8", "10.0.0.0/16", "9.0.0.1/32", "fd00::/64", "100.64.0.1/32")]


def in_order(prefixes):
    return tuple(sorted(set(prefixes), key=lambda p: (p.version, int(p.network_address), p.prefixlen)))


STEPS = st.lists(st.tuples(st.booleans(), st.sampled_from(PREFIXES), st.booleans()), max_size=30)


@given(STEPS, st.sets(st.sampled_from(PREFIXES)))
def test_ok__as_a_sorted_set_that_counts(steps, others):
    """Also when several come and go between two looks."""
    held, model = OrderedPrefixes(), []
    for adds, prefix, looks in steps:
        if adds:
            held.add((prefix,))
            model.append(prefix)
        elif prefix in model:
            held.remove((prefix,))
            model.remove(prefix)
        if looks:
            assert held.ordered() == in_order(model)
            assert held.ordered(OrderedPrefixes(others)) == in_order([*model, *others])
        assert len(held) == len(set(model))
    assert held.ordered() == in_order(model)


def test_fail__what_is_not_there_cannot_go():
    with pytest.raises(KeyError):
        OrderedPrefixes(PREFIXES[:2]).remove(PREFIXES[2:3])
