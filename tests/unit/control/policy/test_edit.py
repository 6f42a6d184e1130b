"""Changes in place: what is not touched stays, letter by letter."""

from __future__ import annotations

import pytest

from control.policy.edit import append, put, remove, remove_value
from control.policy.hujson import parse_hujson
from control.policy.problems import PolicyError
from control.policy.reader import plain

POLICY = """// who is who
{
  "groups": {
    "group:ops": ["alice@", "bob@"], // on call
    /* empty */
    "group:none": [],
    "group:long": [
      "carl@", // the elder
      // and
      "dora@"  // the younger
    ]
  },

  // last
  "hosts": {"nas": "10.0.0.5"}
}
// end
"""


def _added(text: str, changed: str) -> list[str]:
    """Lines that came, each marked; the others must be where they were."""
    before, after = text.splitlines(), changed.splitlines()
    rest = iter(after)
    for line in before:
        assert any(found == line for found in rest), line
    return [line for line in after if line not in before]


def test_ok__inline_lists_stay_inline():
    changed = append(POLICY, ("groups", "group:ops"), "eve@")
    assert changed == POLICY.replace('"bob@"]', '"bob@", "eve@"]')
    changed = append(POLICY, ("groups", "group:none"), "eve@")
    assert changed == POLICY.replace('"group:none": []', '"group:none": ["eve@"]')


def test_ok__spread_lists_stay_spread_and_comments_stay_with_their_lines():
    changed = append(POLICY, ("groups", "group:long"), "eve@")
    wanted = '"dora@",  // the younger\n      "eve@",\n    ]'
    assert changed == POLICY.replace('"dora@"  // the younger\n    ]', wanted)
    again = append(changed, ("groups", "group:long"), "fred@")
    assert again == changed.replace('      "eve@",\n', '      "eve@",\n      "fred@",\n')


def test_ok__what_is_there_already_changes_nothing():
    assert append(POLICY, ("groups", "group:ops"), "bob@") == POLICY
    assert put(POLICY, ("hosts", "nas"), "10.0.0.5") == POLICY


def test_ok__what_is_missing_is_made():
    changed = append(POLICY, ("groups", "group:new"), "eve@")
    assert '    ],\n    "group:new": ["eve@"],\n  },\n' in changed
    changed = append(POLICY, ("autoApprovers", "routes", "10.0.0.0/8"), "tag:gw")
    assert _added(POLICY.replace('"10.0.0.5"}', '"10.0.0.5"},'), changed) == [
        '  "autoApprovers": {"routes": {"10.0.0.0/8": ["tag:gw"]}},'
    ]
    assert put(POLICY, ("hosts", "nas"), "10.0.0.6") == POLICY.replace("10.0.0.5", "10.0.0.6")
    assert '{"nas": "10.0.0.5", "web": "10.0.0.7"}' in put(POLICY, ("hosts", "web"), "10.0.0.7")


@pytest.mark.parametrize("text", ["", "// note\n", "{}", "{\n}", "/* a */ { /* b */ }\n", "\ufeff{}"])
def test_ok__a_policy_from_nothing(text):
    changed = append(append(text, ("grants",), {"src": ["*"]}), ("grants",), {"src": ["a@"]})
    assert plain(parse_hujson(changed)) == {"grants": [{"src": ["*"]}, {"src": ["a@"]}]}
    for comment in ("// note", "/* a */", "/* b */"):
        assert (comment in text) == (comment in changed)


def test_ok__removed_with_its_comment():
    assert remove(POLICY, ("groups", "group:ops")) == POLICY.replace(
        '    "group:ops": ["alice@", "bob@"], // on call\n', ""
    )
    assert remove_value(POLICY, ("groups", "group:long"), "dora@") == POLICY.replace(
        '      "dora@"  // the younger\n', ""
    )
    assert remove_value(POLICY, ("groups", "group:ops"), "bob@") == POLICY.replace(', "bob@"', "")
    assert remove_value(POLICY, ("groups", "group:ops"), "alice@") == POLICY.replace('"alice@", ', "")
    assert remove(POLICY, ("hosts", "nas")) == POLICY.replace('"nas": "10.0.0.5"', "")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda: append(POLICY, ("groups",), "x"), "an object stands here, not a list"),
        (lambda: put(POLICY, ("groups", "group:ops", "x"), 1), "a list stands here, not an object"),
        (lambda: remove(POLICY, ("groups", "group:x")), '"group:x" is not there'),
        (lambda: remove(POLICY, ("ssh", "x")), '"x" is not there'),
        (lambda: remove_value(POLICY, ("groups", "group:ops"), "zoe@"), '"zoe@" is not there'),
        (lambda: append("{", ("groups",), "x"), "still open"),
    ],
)
def test_fail__places(change, says):
    with pytest.raises(PolicyError) as caught:
        change()
    assert says in caught.value.problems[0].text
