"""The order in which addresses are given."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.types.addresses import CHROMEOS_V4, SERVICE_V4, VIA_V6, is_overlay
from control.state.addresses import pool_v4, pool_v6


def test_ok__reserved_ranges_are_skipped():
    pool = pool_v4()
    assert pool.after(None) == IPv4Address("100.64.0.1")
    assert pool.after(IPv4Address("100.100.100.99")) == IPv4Address("100.100.100.101")
    assert pool.after(IPv4Address("100.115.91.255")) == IPv4Address("100.115.94.0")
    assert pool_v6().after(IPv6Address("fd7a:115c:a1e0::52")) == IPv6Address("fd7a:115c:a1e0::54")
    assert pool_v6().after(VIA_V6[0] - 1) == VIA_V6[-1] + 1


def test_ok__the_end_is_the_end():
    assert pool_v4().after(IPv4Address("100.127.255.254")) is None
    small = pool_v4(IPv4Network("100.64.0.0/30"))
    assert [small.after(None), small.after(IPv4Address("100.64.0.1")), small.after(IPv4Address("100.64.0.2"))] == [
        IPv4Address("100.64.0.1"),
        IPv4Address("100.64.0.2"),
        None,
    ]


@settings(deadline=None)  # a busy machine is no defect
@given(st.integers(int(IPv4Address("100.64.0.0")), int(IPv4Address("100.127.255.255"))))
def test_ok__always_above_and_never_reserved(last):
    found = pool_v4().after(IPv4Address(last))
    if found is not None:
        assert int(found) > last
        assert is_overlay(found)
        assert found != SERVICE_V4
        assert found not in CHROMEOS_V4


def test_ok__a_random_place_is_inside_and_never_reserved():
    for pool in (pool_v4(), pool_v6()):
        for draw in (0, 1, 2**127, 2**128 - 1, 12345):
            found = pool.after(pool.at(draw))
            assert found is None or is_overlay(found)
    small = pool_v4(IPv4Network("100.100.100.96/30"))
    assert {str(small.after(small.at(draw))) for draw in range(8)} == {"100.100.100.97", "100.100.100.98"}
