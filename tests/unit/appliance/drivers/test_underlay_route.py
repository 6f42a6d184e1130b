"""Ways out of this host: the kernel's own answers, and messages as bytes."""

import socket
import struct
from ipaddress import ip_address

import pytest

from appliance.drivers.netlink_messages import REQUEST, attribute, attributes, message, messages
from appliance.drivers.route_messages import GET_ROUTE
from appliance.drivers.underlay_route import UnderlayRoutes, parse_route, route_query
from appliance.types.errors import DecodeError


def answer(kind=1, source=bytes((192, 0, 2, 5)), index=3):
    """RTM_NEWROUTE (rtnetlink.h struct rtmsg) for an IPv4 address."""
    head = struct.pack("=8BI", socket.AF_INET, 32, 0, 0, 254, 0, 0, kind, 0)
    return head + attribute(4, struct.pack("=I", index)) + attribute(7, source)


def test_ok__request():
    ((_, kind, payload),) = messages(message(GET_ROUTE, REQUEST, 1, route_query(ip_address("2001:db8::1"), 0x80000)))
    assert (kind, payload[0], payload[1]) == (26, socket.AF_INET6, 128)
    assert {number: bytes(value) for number, value in attributes(payload[12:])} == {
        1: ip_address("2001:db8::1").packed,
        16: struct.pack("=I", 0x80000),
    }


def test_ok__answer():
    assert parse_route(answer()) == ("192.0.2.5", 3)


@pytest.mark.parametrize("payload", [answer(kind=2), answer(kind=7), answer()[:12], b"", answer()[:20]])
def test_fail__it_leads_to_no_other_host_or_is_not_whole(payload):
    assert parse_route(payload) is None


def test_fail__hostile_lengths():
    with pytest.raises(DecodeError):
        parse_route(answer()[:12] + b"\xff\xff\0\0")


def test_ok__the_host_itself_is_no_way_out():
    routes = UnderlayRoutes(0)
    try:
        assert routes.way(ip_address("127.0.0.1")) is None
        assert routes.way(ip_address("::1")) is None
        routes.changed()
        assert not routes.changed()
    finally:
        routes.close()
