from __future__ import annotations

from typing import Any

import pytest

from plugins.app_connector.apps import App, app_of, from_policy, make_app

SHOP = make_app("shop", ("Shop.example.", "*.cdn.example"), ("198.51.100.0/24",))


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("shop.example", True),
        ("a.shop.example", False),
        ("a.cdn.example", True),
        ("a.b.cdn.example", True),
        ("cdn.example", False),
        ("xcdn.example", False),
        ("example", False),
    ],
)
def test_ok__names(name: str, inside: bool) -> None:
    assert SHOP.has(name) == inside
    assert (app_of((App("x"), SHOP), name) == SHOP) == inside


@pytest.mark.parametrize("domain", ["", "*", "*.", "a..b", "a b", "*.*.example", "x" * 64 + ".example", "shöp.example"])
def test_fail__domain(domain: str) -> None:
    with pytest.raises(ValueError):
        make_app("x", (domain,), ())


@pytest.mark.parametrize(
    "route", ["0.0.0.0/0", "::/0", "100.64.0.0/10", "100.0.0.0/8", "fd7a:115c:a1e0::/48", "127.0.0.1/32", "224.0.0.0/8",
              "169.254.1.0/24", "10.0.0.1/8", "x"]
)  # fmt: skip
def test_fail__route(route: str) -> None:
    with pytest.raises(ValueError):
        make_app("x", (), (route,))


def test_ok__of_the_policy_those_that_name_this_connector() -> None:
    entries: list[Any] = [
        {"name": "a", "domains": ["a.example"], "connectors": ["tag:c"]},
        {"name": "b", "domains": ["b.example"], "connectors": ["tag:other"]},
        {"name": "c", "domains": ["c.example"], "routes": ["10.0.0.0/8"], "connectors": ["*"]},
        {"name": "d", "domains": ["d..example"], "connectors": ["*"]},
        {"name": "e", "domains": "e.example", "connectors": ["*"]},
        {"name": "f", "domains": ["f.example"]},
        7,
    ]
    apps, wrong = from_policy(entries, ("tag:c",))
    assert [app.name for app in apps] == ["a", "c"]
    assert apps[1].routes == ("10.0.0.0/8",)
    assert wrong == ("d", "e", "an entry that is no object")
