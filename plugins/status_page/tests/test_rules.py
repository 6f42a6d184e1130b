from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.status_page.rules import is_cross_site, is_own_host, known_hosts, page_url, split_host

HOSTS = known_hosts(["100.64.0.1", "FD7A:115C:A1E0::1"], ["site-a.mesh.internal.", ""])


@pytest.mark.parametrize(
    "header",
    [
        "localhost:5280",
        "127.0.0.1:5280",
        "[::1]:5280",
        "100.64.0.1:5280",
        "[fd7a:115c:a1e0:0::1]:5280",
        "site-a.mesh.internal:5280",
        "SITE-A.mesh.internal.:5280",
        "site-a:5280",
    ],
)
def test_ok__own_host_is_served(header: str) -> None:
    assert is_own_host(header, HOSTS, 5280)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        ":5280",
        "localhost",
        "localhost:5281",
        "evil.example:5280",
        "site-a.mesh.internal.evil.example:5280",
        "100.64.0.2:5280",
        "[::1:5280",
        "[::1]5280",
        "localhost:+5280",
        "localhost:٥٢٨٠",
        "mesh.internal:5280",
    ],
)
def test_fail__foreign_host_is_refused(header: str | None) -> None:
    assert not is_own_host(header, HOSTS, 5280)


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


def test_ok__urls() -> None:
    assert page_url("100.64.0.1", 5280) == "http://100.64.0.1:5280/"
    assert page_url("fd7a::1", 5280) == "http://[fd7a::1]:5280/"
