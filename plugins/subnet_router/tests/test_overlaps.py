from __future__ import annotations

from ipaddress import IPv4Network, ip_network

from hypothesis import given
from hypothesis import strategies as st

from plugins.subnet_router.overlaps import Overlaps

NETWORKS = [
    ip_network(text)
    for text in ("10.0.0.0/8", "10.0.0.0/16", "10.0.1.0/24", "10.1.0.0/16", "10.1.2.0/24", "11.0.0.0/8", "fd00::/8")
] + [ip_network("fd00:1::/64"), ip_network("fd00:1::5/128")]


def naive(networks: set[IPv4Network]) -> list[tuple[IPv4Network, IPv4Network]]:
    """Each network with the smallest other one around it, by looking at all pairs."""
    found = []
    for inner in networks:
        others = [each for each in networks if each != inner and each.version == inner.version]
        around = [each for each in others if inner.subnet_of(each)]
        if around:
            found.append((max(around, key=lambda each: each.prefixlen), inner))
    return sorted(found, key=lambda pair: (pair[1].version, int(pair[1].network_address), pair[1].prefixlen))


@given(st.lists(st.frozensets(st.sampled_from(NETWORKS)), max_size=10))
def test_ok__as_all_pairs_say(steps: list[frozenset[IPv4Network]]) -> None:
    overlaps, held = Overlaps(), frozenset[IPv4Network]()
    for networks in steps:
        overlaps.change(held - networks, networks - held)
        held = networks
        assert list(overlaps.pairs.values()) == naive(set(held))
