"""4via6: the rows of apps spec 7.7, and what is none."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest

from appliance.types.via import parse_via_route, route_text, via_address, via_label, via_parts, via_prefix

ROWS = [
    (7, "10.1.1.0/24", "fd7a:115c:a1e0:b1a:0:7:a01:100/120", "fd7a115ca1e00b1a 00000007 0a010100"),
    (255, "1.2.3.4/32", "fd7a:115c:a1e0:b1a:0:ff:102:304/128", "fd7a115ca1e00b1a 000000ff 01020304"),
    (65536, "192.168.0.0/16", "fd7a:115c:a1e0:b1a:1:0:c0a8:0/112", "fd7a115ca1e00b1a 00010000 c0a80000"),
]


@pytest.mark.parametrize(("site", "network", "prefix", "wire"), ROWS)
def test_ok__rows_of_the_spec(site: int, network: str, prefix: str, wire: str) -> None:
    made = via_prefix(site, IPv4Network(network))
    assert str(made) == prefix
    assert made.network_address.packed.hex() == wire.replace(" ", "")
    assert via_parts(made) == (site, IPv4Network(network))
    assert parse_via_route(f"{network}-via-{site}") == made
    assert route_text(prefix) == f"{network}-via-{site}"


def test_ok__host_bits_and_other_bases() -> None:
    assert parse_via_route(" 10.1.1.9/24-via-0x7 ") == IPv6Network(ROWS[0][2])


NO_ROUTES = [
    "10.1.1.0/24",
    "10.1.1.0/24-via-",
    "10.1.1.0/33-via-7",
    "x-via-7",
    "fd00::/64-via-7",
    "10.0.0.0/8-via-4294967296",
]


@pytest.mark.parametrize("text", NO_ROUTES)
def test_fail__no_via_route(text: str) -> None:
    assert parse_via_route(text) is None


@pytest.mark.parametrize("text", ["10.0.0.0/8", "fd00::/64", "fd7a:115c:a1e0:b1a::/64", "fd7a:115c:a1e0::/120"])
def test_fail__prefixes_of_no_site(text: str) -> None:
    assert via_parts(ip_network(text)) is None
    assert route_text(text) == text


def test_ok__names_and_addresses() -> None:
    address = via_address("10-1-1-16-via-7")
    assert address is not None
    assert str(address) == "fd7a:115c:a1e0:b1a:0:7:a01:110"
    assert via_label(address) == "10-1-1-16-via-7"
