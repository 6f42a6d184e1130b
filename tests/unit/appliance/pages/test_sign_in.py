from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.pages.sign_in import (
    ALPHABET,
    CODE_LIFE_S,
    MAX_ALL_TRIES,
    MAX_CODES,
    MAX_SESSIONS,
    MAX_TRIES,
    TRY_WINDOW_S,
    CodeRefusedError,
    SignIn,
    TooManyTriesError,
    normal_code,
)

HOUR_S = 3600.0


def token_bytes(number: int) -> bytes:
    return number.to_bytes(32, "big")


def refused(sign_in: SignIn, code: str, source: str = "127.0.0.1", now: float = 0.0) -> bool:
    try:
        sign_in.redeem(code, source, token_bytes(1), now)
    except CodeRefusedError:
        return True
    return False


@given(st.binary(min_size=5, max_size=5))
@settings(max_examples=50)
def test_ok__code_opens_a_session_once(random: bytes) -> None:
    sign_in = SignIn(HOUR_S, "waypost page")
    code = sign_in.issue(random, 0.0)
    assert len(code) == 9
    assert set(code.replace("-", "")) <= set(ALPHABET)
    token = sign_in.redeem(code.lower().replace("-", " "), "127.0.0.1", token_bytes(7), 1.0)
    assert sign_in.is_valid(token, HOUR_S)
    assert not sign_in.is_valid(token, HOUR_S + 1.0)
    assert refused(sign_in, code, now=2.0)


def test_fail__code_is_too_old() -> None:
    sign_in = SignIn(HOUR_S, "waypost page")
    code = sign_in.issue(b"12345", 0.0)
    assert refused(sign_in, code, now=CODE_LIFE_S)
    assert refused(sign_in, code, now=1.0), "an old code that was tried is gone"


def test_fail__wrong_and_strange_codes() -> None:
    sign_in = SignIn(HOUR_S, "waypost page")
    sign_in.issue(b"12345", 0.0)
    for number, code in enumerate(["", "AAAA-AAAA", "\ud800", "é" * 10_000]):
        assert refused(sign_in, code, source=f"10.0.0.{number}")
    assert sign_in.refused == 4


def test_ok__lookalikes_are_understood() -> None:
    assert normal_code(" oIl1-2345 ") == "01112345"


def test_fail__too_many_tries_of_one_source_and_only_of_it() -> None:
    sign_in = SignIn(HOUR_S, "waypost page")
    code = sign_in.issue(b"12345", 0.0)
    for number in range(MAX_TRIES):
        assert refused(sign_in, "wrong", f"2001:db8::{number:x}"), "addresses of one /64 are one source"
    with pytest.raises(TooManyTriesError) as caught:
        sign_in.redeem(code, "2001:db8::99", token_bytes(1), 1.0)
    assert 0 < caught.value.wait_s <= TRY_WINDOW_S
    assert sign_in.redeem(code, "2001:db8:1::1", token_bytes(1), 1.0)
    other = sign_in.issue(b"67890", 1.0)
    assert sign_in.redeem(other, "2001:db8::1", token_bytes(2), TRY_WINDOW_S + 1.0)


def test_fail__too_many_tries_of_all_sources() -> None:
    sign_in = SignIn(HOUR_S, "waypost page")
    for number in range(MAX_ALL_TRIES):
        assert refused(sign_in, "wrong", f"10.0.{number}.1")
    with pytest.raises(TooManyTriesError):
        sign_in.redeem("wrong", "10.9.9.9", token_bytes(1), 1.0)


def test_ok__everything_is_bounded() -> None:
    sign_in = SignIn(HOUR_S, "waypost page")
    codes = [sign_in.issue(number.to_bytes(5, "big"), 0.0) for number in range(MAX_CODES + 1)]
    assert refused(sign_in, codes[0]), "the oldest gave way"
    tokens = []
    for number in range(MAX_SESSIONS + 1):
        code = sign_in.issue(number.to_bytes(5, "big"), 0.0)
        tokens.append(sign_in.redeem(code, "127.0.0.1", token_bytes(number), 0.0))
    assert sign_in.sessions(1.0) == MAX_SESSIONS
    assert not sign_in.is_valid(tokens[0], 1.0)
    assert sign_in.is_valid(tokens[-1], 1.0)
    for number in range(5000):
        with pytest.raises((CodeRefusedError, TooManyTriesError)):
            sign_in.redeem("wrong", f"10.{number >> 8}.{number & 255}.1", b"", float(number))
    assert len(sign_in._tries) <= 256


def test_ok__sign_out() -> None:
    sign_in = SignIn(HOUR_S, "waypost page")
    token = sign_in.redeem(sign_in.issue(b"12345", 0.0), "::1", token_bytes(3), 0.0)
    sign_in.end("unknown")
    assert sign_in.is_valid(token, 1.0)
    sign_in.end(token)
    assert not sign_in.is_valid(token, 1.0)


def test_ok__secrets_are_not_kept() -> None:
    sign_in = SignIn(HOUR_S, "waypost page")
    code = sign_in.issue(b"12345", 0.0)
    token = sign_in.redeem(code, "::1", token_bytes(3), 0.0)
    code = sign_in.issue(b"67890", 0.0)
    kept = repr(vars(sign_in))
    assert code not in kept
    assert code.replace("-", "") not in kept
    assert token not in kept
