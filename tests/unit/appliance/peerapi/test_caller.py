"""Who asks and what the policy grants it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from appliance.peerapi.caller import Caller
from appliance.types.addresses import AddrPort
from appliance.types.ids import NodeId, StableNodeId, UserId
from appliance.types.keys import NodePublicKey
from appliance.types.netmap import CapGrant, FilterRule, Node

OWN = Node(
    NodeId(1),
    StableNodeId("n1"),
    "n1.mesh.",
    NodePublicKey(b"\x01" * 32),
    UserId(7),
    addresses=(ip_network("100.64.0.1/32"), ip_network("fd7a:115c:a1e0::1/128")),
)
NODE = replace(OWN, id=NodeId(2), addresses=(ip_network("100.64.0.2/32"),))
SOURCE = AddrPort("100.64.0.2", 5)


def grant(*sources: str, dst: str = "100.64.0.0/10", **caps: tuple[object, ...]) -> FilterRule:
    return FilterRule(sources, cap_grants=(CapGrant((ip_network(dst),), caps),))


def caller(*rules: FilterRule, node: Node = NODE, own: Node = OWN) -> Caller:
    return Caller(node, own, SOURCE, "ann", rules)


def test_ok__one_person_is_self_and_tagged_nodes_are_nobodys() -> None:
    assert caller().is_self
    assert not caller(node=replace(NODE, user=UserId(8))).is_self
    tagged = replace(NODE, tags=("tag:a",))
    assert not caller(node=tagged, own=replace(OWN, tags=("tag:a",))).is_self


def test_ok__grants_of_several_rules_are_joined() -> None:
    rules = (grant("100.64.0.2", a=(1,)), grant("100.64.0.0-100.64.0.9", a=(2,), b=()), grant("*", b=("x",)))
    assert caller(*rules).capabilities() == {"a": (1, 2), "b": ("x",)}


@pytest.mark.parametrize(
    "rule",
    [
        grant("100.64.0.3", a=(1,)),
        grant("fd7a:115c:a1e0::/48", a=(1,)),
        grant("100.64.0.2", dst="100.64.0.9/32", a=(1,)),
        grant("100.64.0.2", dst="fd7a:115c:a1e0::1/128", a=(1,)),
        grant("no address", a=(1,)),
        grant("cap:other", a=(1,)),
    ],
)
def test_fail__grants_for_others(rule: FilterRule) -> None:
    assert caller(rule).capabilities() == {}


def test_ok__source_by_node_capability() -> None:
    assert caller(grant("cap:x", a=(1,)), node=replace(NODE, cap_map={"x": ()})).capabilities() == {"a": (1,)}
