"""The filter in words."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from appliance.router.explain import Packet, explain
from appliance.router.model import RouterModel
from appliance.types.addresses import AddrPort
from appliance.types.netmap import FilterRule, PortRange

MODEL = RouterModel(
    addresses=(ip_network("100.64.0.1/32"),),
    advertised=(ip_network("10.0.0.0/8"),),
    rules=(
        FilterRule(("100.64.0.7",), (PortRange("10.0.0.5", 22, 22),), (6,)),
        FilterRule(("cap:x",), (PortRange("10.0.0.6"),), (47,)),
    ),
    cap_sources={"x": (ip_address("100.64.0.8"),)},
    sources=(ip_network("100.64.0.0/24"),),
    peerapi=(AddrPort("100.64.0.1", 5555),),
)


def packet(source="100.64.0.7", destination="10.0.0.5", **rest):
    return Packet(ip_address(source), ip_address(destination), **rest)


@pytest.mark.parametrize(
    ("given", "accepted", "words"),
    [
        (packet(port=22), True, "filter rule 1 of 2"),
        (packet(port=23), False, "no filter rule lets 100.64.0.7 open TCP"),
        (packet(source="100.64.0.9", port=22), False, "no filter rule names 100.64.0.9"),
        (packet(destination="11.0.0.1"), False, "neither an address of this node"),
        (packet(protocol=1), True, "filter rule 1"),
        (packet(source="100.64.0.9", protocol=1, icmp_type=0), True, "ICMP replies"),
        (packet(source="100.64.0.9", protocol=99), True, "TSMP"),
        (packet(source="100.64.0.9", destination="100.64.0.1", port=5555), True, "peer API"),
        (packet(source="100.64.0.8", destination="10.0.0.6", protocol=47), True, "filter rule 2"),
        (packet(source="100.64.0.8", destination="10.0.0.6", protocol=6), False, "no filter rule lets"),
        (packet(source="100.99.0.1", port=22), False, "no peer has it or routes it"),
        (packet(port=23, established=True), True, "accepted flow"),
        (packet(destination="fd00::1"), False, "different IP versions"),
    ],
)
def test_ok__words(given, accepted, words):
    verdict = explain(MODEL, given)
    assert verdict.accepted is accepted
    assert words in verdict.reason


def test_ok__shields_and_jail():
    assert "shields" in explain(replace(MODEL, shields_up=True), packet(port=22)).reason
    assert "jailed" in explain(replace(MODEL, jailed=(ip_network("100.64.0.7/32"),)), packet(port=22)).reason
