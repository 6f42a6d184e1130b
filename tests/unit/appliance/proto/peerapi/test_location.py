"""Ports of the peer API by the vectors of apps spec 1.2, and where a peer's is found."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from appliance.proto.peerapi import peer_endpoint, port_choice
from appliance.types.addresses import AddrPort
from appliance.types.ids import NodeId, StableNodeId
from appliance.types.keys import NodePublicKey
from appliance.types.netmap import Node

BOTH = (ip_network("100.64.0.1/32"), ip_network("fd7a:115c:a1e0::1/128"))
OWN = Node(NodeId(1), StableNodeId("n1"), "n1.mesh.", NodePublicKey(b"\x01" * 32), addresses=BOTH)
PEER = replace(
    OWN,
    id=NodeId(2),
    addresses=(ip_network("100.64.0.2/32"), ip_network("fd7a:115c:a1e0::2/128")),
    services=(("tcp", 22, ""), ("peerapi4", 4444, ""), ("peerapi6", 6666, "")),
)


@pytest.mark.parametrize(
    ("address", "ports"),
    [
        ("100.64.0.1", (58436, 36467, 45098, 55837, 52376)),
        ("100.101.102.103", (59395,)),
        ("fd7a:115c:a1e0::6565:6667", (59395,)),
        ("fd7a:115c:a1e0::1", (59780,)),
    ],
)
def test_ok__ports_as_in_the_vectors(address: str, ports: tuple[int, ...]) -> None:
    assert tuple(port_choice(ip_address(address), attempt) for attempt in range(len(ports))) == ports


def test_ok__attempts_wrap_the_byte() -> None:
    assert port_choice(ip_address("100.255.0.1"), 1) == port_choice(ip_address("100.0.0.1"))


def test_ok__ipv4_goes_first() -> None:
    assert peer_endpoint(OWN, PEER) == AddrPort("100.64.0.2", 4444)


def test_ok__ipv6_where_one_side_lacks_ipv4() -> None:
    wanted = AddrPort("fd7a:115c:a1e0::2", 6666)
    assert peer_endpoint(replace(OWN, addresses=BOTH[1:]), PEER) == wanted
    assert peer_endpoint(OWN, replace(PEER, services=PEER.services[2:])) == wanted


@pytest.mark.parametrize("services", [(), (("peerapi4", 0, ""),), (("peerapi4", 70000, ""),), (("tcp", 80, ""),)])
def test_fail__no_peer_api(services: tuple[tuple[str, int, str], ...]) -> None:
    assert peer_endpoint(OWN, replace(PEER, services=services)) is None
