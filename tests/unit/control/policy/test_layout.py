"""The one layout: what it changes, and that it changes nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from control.policy.hujson import parse_hujson
from control.policy.layout import format_hujson
from control.policy.problems import PolicyError
from control.policy.reader import plain

UGLY = """// who
{"groups":{"group:a":["alice@" ,"bob@"],// on call


  "group:b":[
 "carl@", /* the elder */ "dora@" // the younger
   // nobody else
]},
/* last */ "hosts" : {"nas":"10.0.0.5"} }
// end"""
PRETTY = """// who
{
  "groups": {
    "group:a": ["alice@", "bob@"], // on call

    "group:b": [
      "carl@",
      /* the elder */
      "dora@", // the younger
      // nobody else
    ],
  },
  /* last */
  "hosts": {"nas": "10.0.0.5"},
}
// end
"""


def test_ok__layout():
    assert format_hujson(UGLY) == PRETTY
    assert format_hujson(PRETTY) == PRETTY
    assert plain(parse_hujson(UGLY)) == plain(parse_hujson(PRETTY))


def test_ok__the_documented_example_has_the_layout():
    text = Path("docs/examples/policy.hujson").read_text()
    assert plain(parse_hujson(format_hujson(text))) == plain(parse_hujson(text))
    assert format_hujson(format_hujson(text)) == format_hujson(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ""),
        (" \n", ""),
        ("// a", "// a\n"),
        ("\ufeff{}", "{}\n"),
        ("{ }", "{}\n"),
        ("[1,2 , 3]", "[\n  1,\n  2,\n  3,\n]\n"),
        ('{"a":\n// why\n1}', '{\n  // why\n  "a": 1,\n}\n'),
        ('{"a" /* x */ : /* y */ 1 /* z */ , }', '{\n  "a": /* x */ /* y */ 1, /* z */\n}\n'),
        ('{"a": [1 // one\n , 2]}', '{\n  "a": [\n    1, // one\n    2,\n  ],\n}\n'),
        ("5", "5\n"),
    ],
)
def test_ok__corners(text, wanted):
    assert format_hujson(text) == wanted


def test_fail__no_hujson():
    with pytest.raises(PolicyError):
        format_hujson('{"a": ')
