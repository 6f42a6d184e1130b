"""Route messages, byte by byte, and what a kernel answers."""

import struct
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.drivers.route_messages import dump_payload, parse_route, route_payload
from appliance.ports.netlink import Route, RouteKind
from appliance.types.errors import DecodeError

NAMES = {3: "waypost0", 4: "eth0"}
ROUTES = (
    Route(ip_network("100.64.0.1/32"), 52, interface="waypost0"),
    Route(ip_network("0.0.0.0/0"), 52, RouteKind.UNREACHABLE, metric=1 << 30),
    Route(ip_network("192.168.1.0/24"), 52, RouteKind.THROW),
    Route(ip_network("10.0.0.0/8"), 1000, interface="eth0", gateway=ip_address("192.0.2.1"), metric=5),
    Route(ip_network("fd7a:115c:a1e0::/48"), 52, interface="waypost0"),
    Route(ip_network("::/0"), 52, RouteKind.BLACKHOLE, metric=7),
    Route(ip_network("0.0.0.0/0"), 54, RouteKind.LOCAL, interface="eth0"),
    Route(ip_network("::/0"), 54, RouteKind.LOCAL, interface="eth0"),
)


def test_ok__a_route_into_the_tunnel() -> None:
    made = route_payload(ROUTES[0], 3)
    assert made[:12] == bytes([2, 32, 0, 0, 52, 87, 253, 1]) + bytes(4)
    assert made[12:20] == struct.pack("=HHI", 8, 15, 52)
    assert made[20:28] == struct.pack("=HH", 8, 1) + bytes([100, 64, 0, 1])
    assert made[28:] == struct.pack("=HHI", 8, 4, 3)


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_ok__read_back(route: Route) -> None:
    index = {name: number for number, name in NAMES.items()}.get(route.interface, 0)
    assert parse_route(route_payload(route, index), NAMES) == route


def test_ok__the_kernels_own_metric_is_none() -> None:
    plain = Route(ip_network("fd00::/64"), 52, interface="eth0")
    stored = Route(ip_network("fd00::/64"), 52, interface="eth0", metric=1024)
    assert parse_route(route_payload(stored, 4), NAMES) == plain


def test_ok__kinds_that_are_not_ours() -> None:
    broadcast = bytearray(route_payload(ROUTES[0], 3))
    broadcast[7] = 3
    assert parse_route(bytes(broadcast), NAMES) is None


def test_ok__a_reading_of_one_table() -> None:
    assert dump_payload(6, 52) == bytes([10]) + bytes(11) + struct.pack("=HHI", 8, 15, 52)


@pytest.mark.parametrize("payload", [b"", route_payload(ROUTES[0], 3)[:-2], route_payload(ROUTES[0], 3)[:16]])
def test_fail__cut_off(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_route(payload, NAMES)


@given(st.binary(max_size=80))
def test_fail__garbage(noise: bytes) -> None:
    for payload in (noise, route_payload(ROUTES[3], 4)[:12] + noise):
        try:
            parse_route(payload, NAMES)
        except DecodeError:
            continue
