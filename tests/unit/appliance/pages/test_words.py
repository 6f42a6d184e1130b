"""Lengths of time in words."""

from __future__ import annotations

from datetime import timedelta

import pytest

from appliance.pages.words import span


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(seconds=59), "moments"),
        (timedelta(seconds=-90), "moments"),
        (timedelta(minutes=1), "1 minute"),
        (timedelta(minutes=59, seconds=59), "59 minutes"),
        (timedelta(hours=23), "23 hours"),
        (timedelta(days=2, hours=5), "2 days"),
    ],
)
def test_ok__span(length: timedelta, text: str) -> None:
    assert span(length) == text
