from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.api.offered import OfferedRoutes, plain
from appliance.api.values import OfferedRoute
from appliance.types.editions import Edition

ROUTES = [OfferedRoute(prefix, peer) for prefix in ("10.0.0.0/8", "10.0.0.0/80", "::/0") for peer in ("n1", "n2")]


def test_ok__in_order_and_by_prefix() -> None:
    offered = OfferedRoutes(reversed(ROUTES))
    assert list(offered) == ROUTES
    assert len(offered) == len(ROUTES)
    assert offered.of("10.0.0.0/8") == (ROUTES[0], ROUTES[1]), "not what only begins like it"
    assert offered.of("10.0.0.0/9") == ()
    assert ROUTES[0] in offered
    assert OfferedRoute("::/0", "n9") not in offered
    assert "::/0" not in offered
    assert offered != tuple(ROUTES)
    assert repr(OfferedRoutes(ROUTES[:1])) == f"OfferedRoutes({(ROUTES[0],)})"


@given(st.lists(st.frozensets(st.sampled_from(ROUTES)), max_size=8))
def test_ok__knows_what_differs(steps: list[frozenset[OfferedRoute]]) -> None:
    offered, held = OfferedRoutes(), frozenset[OfferedRoute]()
    for routes in steps:
        former, offered = offered, offered.changed(held - routes, routes - held)
        assert offered == OfferedRoutes(routes)
        lost, served = offered.difference(former)
        assert lost | served == {each.prefix for each in routes ^ held}
        assert lost == {each.prefix for each in held} - {each.prefix for each in routes}
        held = routes


def test_ok__plain_forms() -> None:
    assert plain(Edition({"a": "1"})) == {"a": "1"}
    assert plain(OfferedRoutes(ROUTES)) == ROUTES


def test_fail__no_plain_form() -> None:
    with pytest.raises(TypeError, match="object has no plain form"):
        plain(object())
