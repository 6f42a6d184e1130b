"""The compatibility table: every case of docs/control/policy-compatibility.md, and that the page shows them."""

from __future__ import annotations

import pytest

from control.policy.document import parse_policy
from control.policy.problems import PolicyError
from tests.unit.control.policy import compatibility as table


@pytest.mark.parametrize(("name", "text"), [case[:2] for case in table.SECTIONS])
def test_ok__sections(name, text):
    assert parse_policy(text) != parse_policy("")


@pytest.mark.parametrize("place", table.PLACES)
@pytest.mark.parametrize("name", table.AUTOGROUPS)
def test_ok__autogroups_stand_where_they_may(name, place):
    text = f"{{{table.OWNERS}, {table.PLACES[place].format('autogroup:' + name)}}}"
    try:
        parse_policy(text)
        accepted = True
    except PolicyError:
        accepted = False
    assert accepted == (place in table.AUTOGROUPS[name])


@pytest.mark.parametrize(("name", "text", "says"), table.REFUSALS)
def test_fail__refusals(name, text, says):
    with pytest.raises(PolicyError) as caught:
        parse_policy(text)
    found = [problem for problem in caught.value.problems if problem.text == says]
    assert found, caught.value.problems
    assert found[0].mend
    assert found[0].place.line == 1


def test_ok__the_page_shows_the_cases():
    assert table.PAGE.read_text("utf-8") == table.page(), "python -m tests.unit.control.policy.compatibility"
