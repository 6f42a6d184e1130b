from __future__ import annotations

from ipaddress import ip_address

import pytest

from appliance.portmap.mapping import Kind, Mapping, RouterPlace, behind_router
from appliance.types.addresses import AddrPort


def test_ok__a_private_router() -> None:
    router, own = ip_address("192.168.1.1"), ip_address("192.168.1.2")
    assert behind_router(router, own) == RouterPlace(router, own)  # type: ignore[arg-type]  # both are IPv4


@pytest.mark.parametrize(
    ("router", "own"),
    [("203.0.113.1", "203.0.113.2"), ("192.168.1.1", "203.0.113.2"), ("fe80::1", "2001:db8::2"), (None, "10.0.0.1")],
)
def test_fail__nothing_to_ask(router: str | None, own: str) -> None:
    assert behind_router(ip_address(router) if router else None, ip_address(own)) is None


def test_ok__end_of_a_mapping() -> None:
    assert Mapping(Kind.PCP, AddrPort("203.0.113.5", 1), 2, 100.0, 60.0).expires_at == 160.0
