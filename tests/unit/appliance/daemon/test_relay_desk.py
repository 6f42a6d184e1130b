"""Which peers may be used as relays, and who may use this node as one."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.api.values import RelayOffer
from appliance.daemon.applier import Situation
from appliance.daemon.relay_desk import RELAY, RELAY_TARGET, RelayDesk, granted
from appliance.magicsock.outbox import RelayAsked
from appliance.types.ids import NodeId, StableNodeId
from appliance.types.keys import DiscoPublicKey, NodePublicKey
from appliance.types.netmap import CapGrant, FilterRule, NetmapDiff, Node

CLIENTS = (DiscoPublicKey(b"b" * 32), DiscoPublicKey(b"a" * 32))
OFFER = RelayOffer(str(DiscoPublicKey(b"s" * 32)), 7, 9, 30.0, 300.0, ("203.0.113.5:41642",))


def node(number: int, **changes: Any) -> Node:
    made = Node(
        NodeId(number),
        StableNodeId(f"n{number}"),
        f"n{number}.mesh.",
        NodePublicKey(bytes([number]) * 32),
        addresses=(ip_network(f"100.64.0.{number}/32"),),
        capability_version=130,
    )
    return replace(made, **changes)


def rule(capability: str, source: str) -> FilterRule:
    return FilterRule((source,), cap_grants=(CapGrant((ip_network("100.64.0.1/32"),), {capability: ()}),))


class View(SimpleNamespace):
    """As much of the netmap as the desk reads."""

    def peer_by_key(self, key: NodePublicKey) -> Node | None:
        return next((peer for peer in self.peers.values() if peer.key == key), None)

    def peer_by_address(self, address: object) -> Node | None:
        return next((peer for peer in self.peers.values() if peer.address(4) == address), None)


class Desk:
    def __init__(self, *rules: FilterRule, own: Node | None = None) -> None:
        peers = {NodeId(n): node(n) for n in (2, 3)}
        self.view = View(self_node=own or node(1), peers=peers, users={}, filter_rules=rules)
        self.told: list[tuple[frozenset[NodePublicKey], bool]] = []
        self.asked: list[Any] = []
        magicsock = SimpleNamespace(set_relays=lambda servers, enabled: self.told.append((servers, enabled)))
        situation = Situation(view=self.view)  # type: ignore[arg-type]  # a part of it
        self.desk = RelayDesk(magicsock, situation, self.offer)  # type: ignore[arg-type]  # a part of it

    def offer(self, request: Any) -> RelayOffer | None:
        self.asked.append(request)
        return OFFER

    def servers(self) -> set[int]:
        return {key.raw[0] for key in self.desk.servers}


FULL = NetmapDiff(full=True)


def test_ok__servers_are_those_whom_the_policy_names() -> None:
    desk = Desk(rule(RELAY_TARGET, "100.64.0.2"), rule("other", "100.64.0.3"))
    desk.desk.apply(FULL)
    desk.desk.apply(FULL)
    assert desk.servers() == {2}
    assert len(desk.told) == 1, "nothing new, nothing said"


def test_ok__peers_named_by_address_are_not_searched_for() -> None:
    desk = Desk(rule(RELAY_TARGET, "100.64.0.2/32"), rule(RELAY_TARGET, "100.64.0.77"))
    desk.view.peers = {NodeId(2): node(2)}
    desk.view.peer_by_address = lambda address: node(2) if str(address) == "100.64.0.2" else None
    desk.view.peers = None  # whoever looks at all of them fails
    desk.desk.apply(FULL)
    assert desk.servers() == {2}
    quiet = Desk(rule("other", "*"))
    quiet.view.peers = None
    quiet.desk.apply(FULL)
    quiet.desk.apply(NetmapDiff(changed={NodeId(2): node(2)}))
    assert quiet.servers() == set()


def test_ok__a_delta_is_followed() -> None:
    desk = Desk(rule(RELAY_TARGET, "100.64.0.2-100.64.0.9"))
    desk.desk.apply(FULL)
    gone = desk.view.peers.pop(NodeId(2))
    fresh = desk.view.peers[NodeId(4)] = node(4)
    desk.desk.apply(NetmapDiff(removed={NodeId(2): gone}, changed={NodeId(4): fresh}))
    assert desk.servers() == {3, 4}
    old = desk.view.peers[NodeId(4)] = node(4, capability_version=120)
    desk.desk.apply(NetmapDiff(changed={NodeId(4): old}, previous={NodeId(4): fresh}))
    assert desk.servers() == {3}, "too old for it"
    desk.view.filter_rules = ()
    desk.desk.apply(NetmapDiff(filter_changed=True))
    assert desk.told[-1] == (frozenset(), True)


@pytest.mark.parametrize("name", ["disable-relay-client", "only-tcp-443"])
def test_fail__control_forbids_the_use(name: str) -> None:
    desk = Desk(rule(RELAY_TARGET, "*"), own=node(1, cap_map={name: ()}))
    desk.desk.apply(FULL)
    assert desk.told[-1][1] is False
    desk.desk.clear()
    assert desk.told[-1] == (frozenset(), True)


def test_ok__a_peer_with_the_right_gets_the_plugin_s_offer() -> None:
    desk = Desk(rule(RELAY, "100.64.0.2"))
    endpoint = desk.desk.serve(RelayAsked(node(2).key, CLIENTS, 5))
    assert endpoint is not None
    assert (endpoint.vni, endpoint.lamport_id, endpoint.bind_lifetime_ns) == (9, 7, 30 * 10**9)
    assert endpoint.clients == (CLIENTS[1], CLIENTS[0]), "sorted"
    assert desk.asked[0].stable_id == "n2"


def test_fail__a_peer_without_the_right_is_not_even_passed_on() -> None:
    desk = Desk(rule(RELAY, "100.64.0.2"))
    assert desk.desk.serve(RelayAsked(node(3).key, CLIENTS, 5)) is None
    assert desk.desk.serve(RelayAsked(node(9).key, CLIENTS, 5)) is None
    assert desk.asked == []


def test_ok__this_node_s_own_relay_where_the_policy_says_so() -> None:
    desk = Desk(rule(RELAY_TARGET, "100.64.0.1"), rule(RELAY, "100.64.0.1"), own=node(1, capability_version=0))
    desk.desk.apply(FULL)
    assert desk.servers() == {1}
    assert desk.desk.serve(RelayAsked(node(1).key, CLIENTS, 5)) is not None
    assert desk.asked[0].stable_id == "n1"


def test_fail__an_offer_without_a_wire_form(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(rule(RELAY, "100.64.0.2"))
    monkeypatch.setattr(desk.desk, "_ask", lambda _request: replace(OFFER, server="discokey:1"))
    assert desk.desk.serve(RelayAsked(node(2).key, CLIENTS, 5)) is None


def test_ok__granted_by_the_first_shared_address() -> None:
    desk = Desk(rule("a", "100.64.0.2"), rule("b", "100.64.0.2"))
    assert granted(desk.view, node(2)) == ("a", "b")  # type: ignore[arg-type]  # a part of it
    assert granted(None, node(2)) == ()
    six = node(2, addresses=(ip_network("fd7a:115c:a1e0::2/128"),))
    assert granted(desk.view, six) == ()  # type: ignore[arg-type]  # a part of it
