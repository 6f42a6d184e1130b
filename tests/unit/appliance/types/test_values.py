"""Netmap values and errors: defaults, derived properties, the line for a terminal."""

from __future__ import annotations

from ipaddress import ip_network

from appliance.types.errors import ConfigError, DecodeError, DecodeReason, Severity, StateError
from appliance.types.ids import NodeId, StableNodeId
from appliance.types.keys import NodePublicKey
from appliance.types.netmap import DerpMap, DerpRegion, NetmapDiff, Node


def node() -> Node:
    return Node(
        id=NodeId(1),
        stable_id=StableNodeId("n1"),
        name="gw.mesh.internal.",
        key=NodePublicKey(bytes(32)),
        addresses=(ip_network("100.64.0.1/32"), ip_network("fd7a:115c:a1e0::1/128")),
    )


def test_ok__node_names_and_addresses() -> None:
    assert node().short_name == "gw"
    assert str(node().address(4)) == "100.64.0.1"
    assert str(node().address(6)) == "fd7a:115c:a1e0::1"
    assert Node(NodeId(1), StableNodeId("n"), "x", NodePublicKey(bytes(32))).address(4) is None


def test_ok__defaults_are_not_shared() -> None:
    first, second = node(), node()
    assert first.cap_map is not second.cap_map


def test_ok__derp_map_iterates_regions() -> None:
    region = DerpRegion(900, "home", "Home")
    assert list(DerpMap({900: region})) == [region]


def test_ok__diff_knows_when_it_is_empty() -> None:
    assert NetmapDiff().empty
    for change in ({"full": True}, {"self_changed": True}, {"filter_changed": True}, {"changed": {1: node()}}):
        assert not NetmapDiff(**change).empty


def test_ok__error_line_has_the_mend() -> None:
    error = ConfigError("gateway.prot is unknown", mend="write gateway.port")
    assert error.line() == "gateway.prot is unknown (write gateway.port)"
    assert ConfigError("bad").line() == "bad"
    assert error.code == "config"
    assert ConfigError("bad", code="special").code == "special"
    assert StateError("x").severity is Severity.HIGH


def test_ok__decode_error_keeps_its_reason() -> None:
    assert DecodeError(DecodeReason.TOO_SHORT, "ping").reason is DecodeReason.TOO_SHORT
    assert str(DecodeError(DecodeReason.BAD_KEY)) == "bad_key"
