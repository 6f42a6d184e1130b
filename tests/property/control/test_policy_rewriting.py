"""Random documents with comments everywhere: layout and changes in place keep values and comments."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.policy.edit import append, put, remove, remove_value
from control.policy.hujson import COMMENT, parse_hujson
from control.policy.layout import format_hujson
from control.policy.reader import plain

pytestmark = [pytest.mark.timeout(60)]

NAMES = st.text("abc:/*, \\\"'é", max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
TRIVIA = st.lists(st.sampled_from([" ", "\n", "\n\n", "// c\n", "/* b */", "/* x\n y */", "\t"]), max_size=3).map(
    "".join
)


@st.composite
def documents(draw, values=VALUES):
    """A value and one of its forms in HuJSON."""
    value = draw(values)
    return value, _written(draw, value)


def _written(draw, value) -> str:
    def gap() -> str:
        return draw(TRIVIA)

    if isinstance(value, dict):
        parts = [f"{gap()}{_dump(name)}{gap()}:{_written(draw, one)}" for name, one in value.items()]
        opened, closed = "{}"
    elif isinstance(value, list):
        parts = [_written(draw, one) for one in value]
        opened, closed = "[]"
    else:
        return f"{gap()}{_dump(value)}{gap()}"
    last = "," if parts and draw(st.booleans()) else ""
    return f"{gap()}{opened}{','.join(parts)}{last}{gap()}{closed}{gap()}"


def _dump(value) -> str:
    return json.dumps(value, ensure_ascii=False)


def _comments(text: str) -> Counter[str]:
    """What comments say, whatever their form; strings hold none here by being taken out."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"|' + COMMENT.pattern, lambda found: _said(found.group()), text, flags=re.DOTALL)
    return Counter(re.findall(r"<(\w+)", bare))


def _said(token: str) -> str:
    return f"<{token.strip('/* ').split()[0]}>" if token.startswith("/") else ""


@settings(deadline=None)
@given(documents())
def test_ok__layout_keeps_values_and_comments_and_settles(document):
    value, text = document
    shown = format_hujson(text)
    assert plain(parse_hujson(shown)) == value
    assert _comments(shown) == _comments(text)
    assert format_hujson(shown) == shown


LISTS = st.dictionaries(NAMES, st.lists(NAMES, max_size=3), min_size=1, max_size=3)


@settings(deadline=None)
@given(documents(LISTS), NAMES, NAMES)
def test_ok__append_and_put(document, name, added):
    value, text = document
    wanted = {**value, name: value.get(name, []) if added in value.get(name, []) else [*value.get(name, []), added]}
    changed = append(text, (name,), added)
    assert plain(parse_hujson(changed)) == wanted
    assert _comments(changed) == _comments(text)
    assert plain(parse_hujson(put(text, (name,), added))) == {**value, name: added}


@settings(deadline=None)
@given(documents(LISTS), st.data())
def test_ok__remove(document, data):
    value, text = document
    name = data.draw(st.sampled_from(sorted(value)))
    wanted = {key: one for key, one in value.items() if key != name}
    assert plain(parse_hujson(remove(text, (name,)))) == wanted
    if value[name]:
        gone = data.draw(st.sampled_from(value[name]))
        rest = list(value[name])
        rest.remove(gone)
        assert plain(parse_hujson(remove_value(text, (name,), gone))) == {**value, name: rest}
