from __future__ import annotations

from appliance.types.findings import FAILED, OK, SKIPPED, STATES, WARNING, Finding


def test_ok__states_are_the_words_of_both_doctors() -> None:
    assert STATES == (OK, WARNING, FAILED, SKIPPED) == ("ok", "warning", "failed", "skipped")
    assert Finding("clock", OK, "kept").mend == ""
