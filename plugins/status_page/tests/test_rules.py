from __future__ import annotations

import pytest

from plugins.status_page.rules import is_own_host, known_hosts, page_url

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


def test_ok__urls() -> None:
    assert page_url("100.64.0.1", 5280) == "http://100.64.0.1:5280/"
    assert page_url("fd7a::1", 5280) == "http://[fd7a::1]:5280/"
