"""Range arithmetic and the address forms of filter rules (node-os spec 1.4)."""

import pytest

from appliance.router.ranges import interval_text, merge, parse_addresses, ports_text, subtract
from appliance.types.errors import DecodeError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.2.3.4", [(4, (0x01020304, 0x01020304))]),
        ("10.0.0.0/8", [(4, (0x0A000000, 0x0AFFFFFF))]),
        ("10.0.0.1-10.0.0.3", [(4, (0x0A000001, 0x0A000003))]),
        ("::1", [(6, (1, 1))]),
        ("*", [(4, (0, 2**32 - 1)), (6, (0, 2**128 - 1))]),
    ],
)
def test_ok__address_forms(text, expected):
    assert parse_addresses(text) == expected


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.3-10.0.0.1", "1.1.1.1-::2", "", "x", "-", "1.1.1.1-", "cap:x"])
def test_fail__bad_addresses(text):
    with pytest.raises(DecodeError):
        parse_addresses(text)


def test_ok__merge_joins_neighbours():
    assert merge([(5, 6), (1, 2), (3, 4), (9, 9), (1, 1)]) == [(1, 6), (9, 9)]


def test_ok__subtract_cuts():
    assert subtract([(0, 10), (20, 30)], [(0, 0), (4, 5), (9, 22), (30, 99)]) == [(1, 3), (6, 8), (23, 29)]


def test_ok__one_hole_over_two_intervals():
    assert subtract([(0, 3), (5, 8)], [(2, 6)]) == [(0, 1), (7, 8)]


def test_ok__texts():
    assert interval_text(4, (0, 2**32 - 1)) == "0.0.0.0/0"
    assert interval_text(4, (0x0A000001, 0x0A000001)) == "10.0.0.1"
    assert interval_text(4, (0x0A000001, 0x0A000002)) == "10.0.0.1-10.0.0.2"
    assert interval_text(6, (0, 2**128 - 1)) == "::/0"
    assert ports_text((80, 80)) == "80"
    assert ports_text((80, 443)) == "80-443"
