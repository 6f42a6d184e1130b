"""An edition is a sorted dictionary that stays as it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.types import editions
from appliance.types.editions import BLOCK, Edition, edition

keys = st.integers(0, 40)
steps = st.tuples(st.lists(keys, max_size=6), st.dictionaries(keys, st.integers(0, 3), max_size=6))


def told(model, former):
    """What is gone and what is fresh, of plain dictionaries."""
    gone = {key: value for key, value in former.items() if model.get(key) != value}
    return gone, {key: value for key, value in model.items() if former.get(key) != value}


@given(st.dictionaries(keys, st.integers(0, 3)), st.lists(steps, max_size=8), keys, keys)
def test_ok__as_sorted_dictionaries(start, changes, first, last):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(editions, "BLOCK", 2)
        made = [(Edition(start), start)]
        for gone, put in changes:
            held, model = made[-1]
            made.append((held.changed(gone, put), {key: model[key] for key in model if key not in gone} | put))
    for held, model in made:
        assert list(held.items()) == sorted(model.items())
        assert (list(held), list(held.values())) == (sorted(model), [model[key] for key in sorted(model)])
        assert len(held) == len(model)
        assert held == model
        assert {key: held.get(key) for key in range(41)} == {key: model.get(key) for key in range(41)}
        assert list(held.between(first, last)) == sorted(
            (key, value) for key, value in model.items() if first <= key <= last
        )
        before = [key for key in model if key <= first]
        assert held.at_or_before(first) == ((max(before), model[max(before)]) if before else None)
        for other, former in made:
            assert held.difference(other) == told(model, former)
            assert (held == other) == (model == former)


def test_ok__a_small_change_shares_the_rest():
    former = Edition({number: str(number) for number in range(100 * BLOCK)})
    now = former.changed([7], {3000: "new"})
    shared = {id(block) for block in former._blocks} & {id(block) for block in now._blocks}
    assert len(shared) == len(former._blocks) - 2
    assert former.changed([], {}) is former
    assert edition(former) is former
    assert edition({1: "a"}) == Edition({1: "a"})


def test_ok__blocks_grow_to_a_bound():
    held: Edition[int, int] = Edition()
    for number in range(10 * BLOCK):
        held = held.changed([], {number: number})
    assert max(len(keys) for keys, _values in held._blocks) <= 2 * BLOCK
    assert held.changed(range(10 * BLOCK), {}) == {}


def test_fail__what_is_not_there():
    with pytest.raises(KeyError):
        Edition({1: 1})[2]
    with pytest.raises(KeyError):
        Edition()[2]
