"""The time of `--confirm-within`, and patches that carry it."""

from __future__ import annotations

import click
import pytest

from appliance.cli.confirm import Span, on_trial
from appliance.localapi.schema import PrefsPatch


@pytest.mark.parametrize(
    ("text", "seconds"), [("60", 60), ("60s", 60), ("1.5 m", 90), ("5min", 300), ("2H", 7200), (" 10 s ", 10)]
)
def test_ok__span(text: str, seconds: float) -> None:
    assert Span().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "s", "-5s", "5d", "1h30m", "nan", "inf", "1e3"])
def test_fail__span(text: str) -> None:
    with pytest.raises(click.BadParameter, match="no time"):
        Span().convert(text, None, None)


def test_ok__patch() -> None:
    patch = PrefsPatch(hostname="x")
    assert on_trial(patch, None, is_empty=False) is patch
    assert on_trial(patch, 60.0, is_empty=False) == PrefsPatch(hostname="x", confirm_within_s=60.0)


def test_fail__nothing_to_try() -> None:
    with pytest.raises(click.UsageError, match="needs a setting"):
        on_trial(PrefsPatch(), 60.0, is_empty=True)
