"""HuJSON: what is read, and where errors point."""

from __future__ import annotations

import pytest

from control.policy.hujson import parse_hujson
from control.policy.problems import Place, PolicyError, nearest


def _plain(value):
    if value.is_object:
        return {member.name: _plain(member.value) for member in value.data}
    return [_plain(item) for item in value.data] if isinstance(value.data, tuple) else value.data


def test_ok__comments_and_trailing_commas():
    text = '// top\n{ /* in */ "a": [1, -2.5e1, true, null,], "b": {"c": "x\\u00e9\\ud83d\\ude00\\n",},} // end'
    assert _plain(parse_hujson(text)) == {"a": [1, -25.0, True, None], "b": {"c": "xé😀\n"}}


@pytest.mark.parametrize("text", ["", "  \n", "// nothing", "/* x */"])
def test_ok__empty(text):
    assert parse_hujson(text) is None


def test_ok__places_count_characters():
    value = parse_hujson('{\n  "é": 1,\n  "b": [ 2 ]\n}')
    assert value.data[1].place == Place(3, 3)
    assert value.data[1].value.data[0].place == Place(3, 10)


@pytest.mark.parametrize(
    ("text", "line", "column", "says", "mend"),
    [
        ('{"a" 1}', 1, 6, "no colon", '"a": value'),
        ('{\n"a": 1\n"b": 2}', 2, 7, "no comma", "comma here"),
        ("{a: 1}", 1, 2, "double quotes", 'write "a"'),
        ("['x']", 1, 2, "double quotes", "instead of"),
        ("[True]", 1, 2, "unexpected word: True", "write true"),
        ("[01]", 1, 2, "not a number: 01", ""),
        ('["x', 1, 2, "never closed", ""),
        ("[1", 1, 3, "line 1, column 1 is still open", "]"),
        ("/* x", 1, 1, "never closed", "*/"),
        ('{"a":1,"a":2}', 1, 8, "twice", "line 1, column 2"),
        ("[1}", 1, 3, "closes what", "write ]"),
        ("{} x", 1, 4, "after the end", ""),
        ('["\\q"]', 1, 3, "unknown escape", ""),
        ('["\\ud800"]', 1, 3, "surrogate", ""),
        ("[,]", 1, 2, "a comma where a value belongs", "remove"),
        ('{"a":}', 1, 6, "where a value belongs", ""),
        ("[" * 80, 1, 66, "nested deeper", ""),
    ],
)
def test_fail__place_text_and_mend(text, line, column, says, mend):
    with pytest.raises(PolicyError) as caught:
        parse_hujson(text)
    [problem] = caught.value.problems
    assert problem.place == Place(line, column)
    assert says in problem.text
    assert mend in problem.mend


def test_fail__not_utf8():
    with pytest.raises(PolicyError) as caught:
        parse_hujson(b'{\n"\xff": 1}')
    assert caught.value.problems[0].place == Place(2, 2)


def test_ok__nearest():
    assert nearest("tagowner", ["tagOwners", "acls"]) == "tagOwners"
    assert nearest("xyz", ["tagOwners", "acls"]) is None
