from __future__ import annotations

from datetime import timedelta

import pytest

from appliance.ports.randomness import SeededRandomness
from control.service.errors import ServiceError
from control.service.key_text import KeyText, check_life, secret_hash

KEY = KeyText("wpkey-x.-")


def test_ok__there_and_back() -> None:
    public, secret = KEY.make(SeededRandomness(1))
    text = KEY.text(public, secret)
    assert text == f"wpkey-x.-{public}-{secret}"
    assert KEY.split(text) == (public, secret_hash(secret))
    assert KEY.named(f" {text} ") == KEY.named(public) == public
    assert KEY.named("7") == "7"


def test_fail__no_key_of_this_kind() -> None:
    public, secret = KEY.make(SeededRandomness(1))
    for text in (
        "",
        public,
        KEY.text(public, secret) + "0",
        KEY.text(public, secret.upper()),
        f"wpkey-xy-{public}-{secret}",
    ):
        assert KEY.split(text) is None


def test_fail__over_before_it_begins() -> None:
    check_life(None, "1h")
    check_life(timedelta(seconds=1), "1h")
    with pytest.raises(ServiceError, match="expired already"):
        check_life(timedelta(0), "1h")
