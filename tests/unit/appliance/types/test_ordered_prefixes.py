"""Prefixes in order, whatever comes and goes."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.types.ordered_prefixes import CountedPrefixes, PrefixSet, prefix_set

PREFIXES = [ip_network(text) for text in ("10.0.0.0/8", "10.0.0.0/16", "9.0.0.1/32", "fd00::/64", "100.64.0.1/32")]
ADDRESSES = [ip_address(text) for text in ("10.0.0.1", "10.9.0.1", "9.0.0.1", "9.0.0.2", "fd00::5", "fd01::5")]


def in_order(prefixes):
    return tuple(sorted(set(prefixes), key=lambda p: (p.version, int(p.network_address), p.prefixlen)))


STEPS = st.lists(st.tuples(st.booleans(), st.sampled_from(PREFIXES), st.booleans()), max_size=30)


@given(STEPS)
def test_ok__as_a_sorted_set_that_counts(steps):
    """Also when several come and go between two looks."""
    counted, model, former = CountedPrefixes(), [], PrefixSet()
    for adds, prefix, looks in [*steps, (True, PREFIXES[0], True)]:
        if adds:
            counted.add((prefix,))
            model.append(prefix)
        elif prefix in model:
            counted.remove((prefix,))
            model.remove(prefix)
        if not looks:
            continue
        held = counted.held()
        assert tuple(held) == in_order(model)
        assert held == PrefixSet(model)
        gone, fresh = held.difference(former)
        assert (set(former) - set(gone)) | set(fresh) == set(model)
        assert set(gone) <= set(former)
        assert not set(fresh) & set(former)
        for address in ADDRESSES:
            within = any(address in each for each in model if each.version == address.version)
            assert held.covers(address.version, int(address)) == within
        assert held.leaves_overlay == bool({*model} - {PREFIXES[-1]})
        for prefix in PREFIXES:
            others = [each for each in set(model) if each.version == prefix.version and each != prefix]
            around = [each for each in others if prefix.subnet_of(each)]
            assert held.around(prefix) == max(around, key=lambda each: each.prefixlen, default=None)
            assert tuple(held.inside(prefix)) == in_order(each for each in others if each.subnet_of(prefix))
        former = held


def test_ok__the_same_set_while_nothing_changes():
    counted = CountedPrefixes()
    counted.add(PREFIXES)
    first = counted.held()
    counted.add(PREFIXES[:1])
    assert counted.held() is first
    assert prefix_set(first) is first
    assert PREFIXES[0] in first
    assert "10.0.0.0/8" not in first
    assert first != tuple(first)
    assert repr(PrefixSet(PREFIXES[:1])) == "PrefixSet(10.0.0.0/8)"


def test_fail__what_is_not_there_cannot_go():
    counted = CountedPrefixes()
    counted.add(PREFIXES[:2])
    with pytest.raises(KeyError):
        counted.remove(PREFIXES[2:3])
