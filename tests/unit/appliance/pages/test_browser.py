from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.pages.browser import is_cross_site, split_host


def test_ok__port_80_needs_not_be_named() -> None:
    assert split_host("localhost") == ("localhost", 80)
    assert split_host("[::1]") == ("::1", 80)


@given(st.text(max_size=80))
def test_ok__any_text_is_split_or_refused(text: str) -> None:
    found = split_host(text)
    assert found is None or (found[0] is not None and 0 <= found[1] <= 99999)


@pytest.mark.parametrize(
    ("method", "fetch_site", "origin"),
    [
        ("GET", None, None),
        ("GET", "none", None),
        ("GET", "same-origin", None),
        ("POST", "same-origin", "http://localhost:5280"),
        ("POST", None, "http://localhost:5280"),
        ("POST", "same-origin", None),
    ],
)
def test_ok__own_site(method: str, fetch_site: str | None, origin: str | None) -> None:
    assert not is_cross_site(method, fetch_site, origin, "localhost:5280")


@pytest.mark.parametrize(
    ("method", "fetch_site", "origin"),
    [
        ("GET", "cross-site", None),
        ("GET", "same-site", None),
        ("GET", None, "http://evil.example"),
        ("POST", None, None),
        ("POST", "none", None),
        ("POST", "cross-site", "http://evil.example"),
        ("POST", None, "null"),
        ("POST", "same-origin", "https://localhost:5280"),
        ("POST", "same-site", "http://localhost:8000"),
    ],
)
def test_fail__other_site(method: str, fetch_site: str | None, origin: str | None) -> None:
    assert is_cross_site(method, fetch_site, origin, "localhost:5280")


def test_ok__either_scheme_where_a_proxy_may_end_tls() -> None:
    for origin in ("http://control.example", "https://control.example"):
        assert not is_cross_site("POST", None, origin, "control.example", ("http", "https"))
    assert is_cross_site("POST", None, "ftp://control.example", "control.example", ("http", "https"))
