"""Questions about the packet filter: names, protocols, and the answer of the model that is applied."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_network

import pytest

from appliance.daemon.firewall_desk import FirewallDesk
from appliance.daemon.peer_lookup import NoSuchPeerError, NotConnectedError
from appliance.localapi.firewall_schema import FirewallQuery, FirewallVerdict
from appliance.netmap.store import NetmapStore
from appliance.proto.control import messages as wire
from appliance.router.model import RouterModel
from appliance.types.errors import ConfigError
from appliance.types.netmap import FilterRule, PortRange
from tests.unit.appliance.netmap.conftest import node

MODEL = RouterModel(
    addresses=(ip_network("100.64.0.1/32"), ip_network("fd7a::1/128")),
    rules=(
        FilterRule(("100.64.0.3",), (PortRange("100.64.0.1", 80, 80),), (6,)),
        FilterRule(("100.64.0.2", "fd7a::2"), (PortRange("*", 22, 22),), (6, 17)),
        FilterRule(("fd7a::2",), (PortRange("fd7a::1"),), (47,)),
    ),
)


@pytest.fixture
def desk() -> FirewallDesk:
    store = NetmapStore()
    store.begin_stream()
    peers = [node(2, addresses=["100.64.0.2/32", "fd7a::2/128"]), node(4, addresses=[])]
    store.apply(wire.MapResponse(node=node(1), peers=peers), datetime(2026, 1, 1, tzinfo=UTC))
    return FirewallDesk(lambda: store.view, lambda: MODEL)


def ask(desk: FirewallDesk, source: str, destination: str, protocol: str = "tcp", port: int = 22) -> FirewallVerdict:
    return desk.explain(FirewallQuery(source=source, destination=destination, protocol=protocol, port=port))


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        ("100.64.0.2", "100.64.0.1"),
        ("node2", "node1"),
        ("Node2.net.example.", "node1.net.example"),
        ("fd7a::2", "fd7a::1"),
        ("node2", "fd7a::1"),
    ],
)
def test_ok__addresses_and_names_of_one_version(desk: FirewallDesk, source: str, destination: str) -> None:
    verdict = ask(desk, source, destination)
    assert (verdict.accepted, verdict.rule) == (True, 2)
    assert "filter rule 2 of 3" in verdict.reason


def test_ok__dropped_says_why(desk: FirewallDesk) -> None:
    verdict = ask(desk, "node2", "node1", "tcp", 23)
    assert verdict == FirewallVerdict(
        accepted=False,
        reason="no filter rule lets 100.64.0.2 open TCP from 100.64.0.2 to 100.64.0.1 port 23",
        packet="TCP from 100.64.0.2 to 100.64.0.1 port 23",
    )


@pytest.mark.parametrize(
    ("protocol", "destination", "words"),
    [
        ("UDP", "100.64.0.1", "UDP from"),
        ("icmp", "100.64.0.1", "ICMP from"),
        ("icmp", "fd7a::1", "ICMPv6 from"),
        ("sctp", "100.64.0.1", "SCTP from"),
        ("47", "fd7a::1", "protocol 47 from"),
    ],
)
def test_ok__protocols(desk: FirewallDesk, protocol: str, destination: str, words: str) -> None:
    assert ask(desk, "node2", destination, protocol).packet.startswith(words)


@pytest.mark.parametrize("protocol", ["", "256", "-1", "tcp/22", "٤"])
def test_fail__protocol(desk: FirewallDesk, protocol: str) -> None:
    with pytest.raises(ConfigError, match="no protocol"):
        ask(desk, "node2", "node1", protocol)


def test_fail__port_and_names(desk: FirewallDesk) -> None:
    with pytest.raises(ConfigError, match="no port"):
        ask(desk, "node2", "node1", port=65536)
    with pytest.raises(NoSuchPeerError, match="node9"):
        ask(desk, "node9", "node1")
    with pytest.raises(NoSuchPeerError, match="no address"):
        ask(desk, "node4", "node1")


def test_fail__nothing_applied() -> None:
    with pytest.raises(NotConnectedError):
        ask(FirewallDesk(lambda: None, lambda: MODEL), "a", "b")
    with pytest.raises(NotConnectedError):
        ask(FirewallDesk(lambda: NetmapStore().view, lambda: None), "a", "b")
