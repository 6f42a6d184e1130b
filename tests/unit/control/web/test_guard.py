from __future__ import annotations

import pytest

from control.web.guard import is_own_host

NAMES = frozenset({"control.example"})


@pytest.mark.parametrize(
    "host",
    ["control.example", "CONTROL.example.:8080", "localhost:80", "192.0.2.1:8080", "[2001:db8::1]:8080", "[::1]"],
)
def test_ok__own_host(host: str) -> None:
    assert is_own_host(host, NAMES)


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "control.example.evil.example",
        "control.example:x",
        "[::1",
        "[::1]8080",
        "[evil]",
        ":80",
    ],
)
def test_fail__foreign_host(host: str | None) -> None:
    assert not is_own_host(host, NAMES)
