"""One-to-one translation: its text, the way from one address to the other, names."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.types.translated import example_label, host_label, moved, pair_text, parse_host_label, parse_pair


@pytest.mark.parametrize(
    ("address", "label"),
    [
        ("192.168.1.10", "192-168-1-10-via-gateway-b"),
        ("fd00:1::10", "fd00-1--10-via-gateway-b"),
        ("fd00:1::", "fd00-1---via-gateway-b"),
    ],
)
def test_ok__names_there_and_back(address: str, label: str) -> None:
    assert host_label(ip_address(address), "gateway-b") == label
    assert parse_host_label(label) == (ip_address(address), "gateway-b")


def test_ok__a_router_may_have_any_name() -> None:
    assert parse_host_label("10-0-0-1-via-a-via-b") == (ip_address("10.0.0.1"), "a-via-b")


@pytest.mark.parametrize("label", ["gateway-b", "-via-b", "10-0-0-1-via-", "10-0-0-via-b", "10-0-0-256-via-b"])
def test_fail__labels_that_are_none(label: str) -> None:
    assert parse_host_label(label) is None


@given(st.text(max_size=80))
def test_ok__any_label_is_read_without_a_fault(label: str) -> None:
    found = parse_host_label(label)
    assert found is None or parse_host_label(host_label(*found)) == found


def test_ok__host_bits_are_kept() -> None:
    inside, outside = ip_network("192.168.0.0/22"), ip_network("10.7.4.0/22")
    assert moved(ip_address("192.168.2.9"), inside, outside) == ip_address("10.7.6.9")
    assert moved(ip_address("10.7.6.9"), outside, inside) == ip_address("192.168.2.9")
    six = ip_network("fd00:1::/64"), ip_network("fd00:8::/64")
    assert moved(ip_address("fd00:1::a:b"), *six) == ip_address("fd00:8::a:b")
    assert example_label(inside, "b") == "192-168-0-1-via-b"
    assert example_label(ip_network("10.0.0.7/32"), "b") == "10-0-0-7-via-b"


def test_ok__pairs_there_and_back() -> None:
    pair = (ip_network("192.168.1.0/24"), ip_network("10.7.1.0/24"))
    assert parse_pair(pair_text(*pair)) == pair


@pytest.mark.parametrize(
    "text",
    [
        "",
        "192.168.1.0/24",
        "192.168.1.0/24 is 10.7.1.0/24",
        "192.168.1.1/24 as 10.7.1.0/24",
        "192.168.1.0/24 as 10.7.0.0/16",
        "192.168.1.0/24 as fd00::/24",
        "x as y",
        "0.0.0.0/0 as " + "0" * 500,
    ],
)
def test_fail__pairs_that_are_none(text: str) -> None:
    assert parse_pair(text) is None
