"""Learning, ageing and keeping, on times of the test's own."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from appliance.api import DnsAnswer
from plugins.app_connector.apps import make_app
from plugins.app_connector.rules import MAX_SOURCES, MIN_LIFE_S, LearnedRoutes

SHOP = make_app("shop", ("shop.example", "*.wild.example"), ())
PRESET = make_app("preset", ("p.example",), ("198.51.100.0/24",))
APPS = (SHOP, PRESET)


def answer(name: str, *addresses: str, ttl: int = 60, aliases: tuple[tuple[str, str], ...] = ()) -> DnsAnswer:
    owner = aliases[-1][1] if aliases else name
    return DnsAnswer(name, tuple((owner, address, ttl) for address in addresses), aliases)


def learned(*answers: DnsAnswer, **options: object) -> LearnedRoutes:
    routes = LearnedRoutes(**options)  # type: ignore[arg-type]  # as each case has them
    for each in answers:
        routes.observe(each, APPS, [ip_network("192.0.2.0/24")], 0.0)
    return routes


def test_ok__by_name_wildcard_and_aliases() -> None:
    chain = (("shop.example", "a.cdn.example"), ("a.cdn.example", "b.cdn.example"))
    routes = learned(
        answer("shop.example", "203.0.113.1"),
        answer("x.wild.example", "2001:db8::1"),
        answer("wild.example", "203.0.113.9"),
        answer("other.example", "203.0.113.8"),
        answer("shop.example", "203.0.113.2", aliases=chain),
        answer("cdn.example", "203.0.113.7", aliases=(("y.example", "cdn.example"),)),
    )
    assert routes.routes(APPS) == ("198.51.100.0/24", "203.0.113.1/32", "203.0.113.2/32", "2001:db8::1/128")
    assert routes.by_app() == {"shop": 3}
    assert routes.hits == {"shop": 3}


def test_ok__an_alias_in_a_circle_ends() -> None:
    circle = (("a.example", "b.example"), ("b.example", "a.example"))
    assert not learned(answer("a.example", "203.0.113.1", aliases=circle)).addresses


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "0.0.0.0", "224.0.0.1", "169.254.1.1", "100.64.0.1", "fd7a:115c:a1e0::1", "::1", "192.0.2.7"],
)
def test_ok__what_is_never_learned(address: str) -> None:
    assert not learned(answer("shop.example", address)).addresses


def test_ok__only_ipv4() -> None:
    assert not learned(answer("shop.example", "2001:db8::1"), only_v4=True).addresses


def test_ok__presets_cover() -> None:
    assert learned(answer("shop.example", "198.51.100.7")).routes(APPS) == ("198.51.100.0/24",)


def test_ok__known_addresses_change_nothing() -> None:
    routes = learned(answer("shop.example", "203.0.113.1"))
    assert not routes.observe(answer("shop.example", "203.0.113.1"), APPS, (), 10.0)
    assert routes.observe(answer("shop.example", "203.0.113.2"), APPS, (), 10.0)


def test_ok__age() -> None:
    routes = learned(answer("shop.example", "203.0.113.1"), answer("shop.example", "203.0.113.2", ttl=100_000))
    routes.observe(answer("shop.example", "203.0.113.1"), APPS, (), 100.0)
    assert not routes.age(MIN_LIFE_S + 99)
    assert routes.age(MIN_LIFE_S + 100)
    assert [str(each) for each in routes.addresses] == ["203.0.113.2"]
    assert routes.age(1_000_000)


def test_ok__bounded_the_one_not_seen_longest_goes() -> None:
    routes = learned(*(answer("shop.example", f"203.0.113.{number}") for number in range(5)), per_app=3)
    routes.observe(answer("shop.example", "203.0.113.2"), APPS, (), 1.0)
    routes.observe(answer("shop.example", "203.0.113.9"), APPS, (), 1.0)
    assert [str(each) for each in routes.addresses] == ["203.0.113.4", "203.0.113.2", "203.0.113.9"]


def test_ok__apps_that_are_gone_take_their_addresses_along() -> None:
    routes = learned(answer("shop.example", "203.0.113.1"), answer("x.wild.example", "203.0.113.2"))
    assert not routes.keep_only(APPS)
    assert routes.keep_only((make_app("shop", ("shop.example",), ()),))
    assert [str(each) for each in routes.addresses] == ["203.0.113.1"]
    assert routes.keep_only(())


def test_ok__an_address_that_names_share_stays_with_the_last_of_them() -> None:
    """Two apps, and two names of one of them, lead to one address."""
    other = make_app("other", ("other.example",), ())
    routes, shop = LearnedRoutes(), make_app("shop", ("shop.example", "pay.example"), ())
    for at, name in ((0.0, "shop.example"), (10.0, "pay.example"), (20.0, "other.example")):
        routes.observe(answer(name, "203.0.113.1"), (shop, other), (), at)
    assert routes.by_app() == {"shop": 1, "other": 1}
    assert routes.by_domain() == {each: ["203.0.113.1"] for each in ("shop.example", "pay.example", "other.example")}
    again = LearnedRoutes()
    again.load(routes.dump())
    assert again.addresses == routes.addresses
    assert not routes.keep_only((shop,)), "the other app is gone, the address is not"
    assert not routes.age(MIN_LIFE_S + 5)
    assert routes.by_domain() == {"pay.example": ["203.0.113.1"]}
    assert routes.age(MIN_LIFE_S + 10)
    assert not routes.addresses


def test_ok__an_app_that_is_full_leaves_others_their_addresses() -> None:
    other, routes = make_app("other", ("other.example",), ()), LearnedRoutes(per_app=1)
    for name, address in (("shop.example", "203.0.113.1"), ("other.example", "203.0.113.1")):
        routes.observe(answer(name, address), (SHOP, other), (), 0.0)
    routes.observe(answer("shop.example", "203.0.113.2"), (SHOP, other), (), 0.0)
    assert routes.by_domain() == {"other.example": ["203.0.113.1"], "shop.example": ["203.0.113.2"]}


def test_ok__many_names_of_one_address_are_bounded() -> None:
    names = [f"n{number}.wild.example" for number in range(MAX_SOURCES + 3)]
    routes = learned(*(answer(name, "203.0.113.1") for name in names))
    assert list(routes.by_domain()) == names[3:]


def test_ok__kept_over_restarts() -> None:
    routes = learned(answer("shop.example", "203.0.113.1", "2001:db8::1"))
    again = LearnedRoutes()
    again.load(routes.dump())
    assert again.addresses == routes.addresses


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"version": 2, "addresses": []}', b'{"version": 1, "addresses": [["x", 1, 2, 3]]}']
)
def test_fail__what_was_kept_is_damaged(data: bytes) -> None:
    routes = learned(answer("shop.example", "203.0.113.1"))
    routes.load(data)
    assert not routes.addresses
