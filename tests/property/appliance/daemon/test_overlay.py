"""Peers and routes that come and go one by one leave what a fresh start would make."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.api import OfferedRoute, RouteSelection
from appliance.daemon import overlay
from appliance.daemon.overlay import OverlayPeers
from appliance.types.addresses import Prefix
from appliance.types.ids import NodeId, StableNodeId
from appliance.types.keys import DiscoPublicKey, NodePublicKey
from appliance.types.netmap import NetmapDiff, Node

ROUTES = ("10.0.0.0/8", "10.1.0.0/16", "192.168.20.0/24", "0.0.0.0/0", "fd00:2::/64")
NUMBERS = (1, 2, 3)


def node(number: int, routes: tuple[str, ...], usable: bool, jailed: bool) -> Node:
    own = ip_network(f"100.64.0.{number}/32"), ip_network(f"fd7a:115c:a1e0::{number}/128")
    return Node(
        id=NodeId(number),
        stable_id=StableNodeId(f"n{number}"),
        name=f"gw{number}.mesh.",
        key=NodePublicKey(bytes([number]) * 32),
        disco_key=DiscoPublicKey(bytes([number]) * 32),
        addresses=own,
        allowed_ips=(*own, *map(ip_network, routes)),
        expired=not usable,
        jailed=jailed,
    )


ROUTERS = st.lists(st.sampled_from(ROUTES), unique=True, max_size=4).map(tuple)
NODES = st.builds(node, st.sampled_from(NUMBERS), ROUTERS, st.integers(0, 5).map(bool), st.booleans())
SELECTIONS = st.builds(
    RouteSelection,
    st.dictionaries(st.sampled_from(ROUTES), st.sampled_from(("", "", "taken"))),
    via=st.sampled_from(((), (OfferedRoute("0.0.0.0/0", "n1"),), (OfferedRoute("0.0.0.0/0", "n2"),))),
)
STEPS = st.lists(NODES | st.sampled_from(NUMBERS) | SELECTIONS, max_size=15)


@settings(max_examples=200)
@given(STEPS, st.booleans())
def test_ok__step_by_step_as_from_the_start(steps: list[Node | int | RouteSelection], few: bool) -> None:
    limit, overlay.MAX_HOST_ROUTES = overlay.MAX_HOST_ROUTES, 4 if few else 0
    try:
        follow(steps)
    finally:
        overlay.MAX_HOST_ROUTES = limit


def follow(steps: list[Node | int | RouteSelection]) -> None:
    peers, nodes, chosen = OverlayPeers(), dict[NodeId, Node](), RouteSelection()
    allowed: dict[NodePublicKey, frozenset[Prefix]] = {}
    for step in steps:
        if isinstance(step, RouteSelection):
            chosen, diff = step, peers.accept(step)
        elif isinstance(step, int):
            gone = {each: nodes.pop(each) for each in tuple(nodes) if each == step}
            diff = peers.apply(NetmapDiff(removed=gone))
        else:
            former = {step.id: nodes[step.id]} if step.id in nodes else {}
            nodes[step.id] = step
            diff = peers.apply(NetmapDiff(changed={step.id: step}, previous=former))
        for key in diff.remove:
            allowed.pop(key, None)
        allowed |= {peer.key: frozenset(peer.allowed_ips) for peer in diff.upsert}
        check(peers, nodes, chosen, allowed)


def check(
    peers: OverlayPeers,
    nodes: dict[NodeId, Node],
    chosen: RouteSelection,
    allowed: dict[NodePublicKey, frozenset[Prefix]],
) -> None:
    """Against new peers, told of everything at once, and what the engine was told in all."""
    fresh = OverlayPeers()
    fresh.accept(chosen)
    diff = fresh.apply(NetmapDiff(full=True, changed={each: replace(found) for each, found in nodes.items()}))
    assert allowed == {peer.key: frozenset(peer.allowed_ips) for peer in diff.upsert}
    for part in (OverlayPeers.offered, OverlayPeers.routes, OverlayPeers.sources, OverlayPeers.jailed, len):
        assert part(peers) == part(fresh), part
    accepted = {ip_network(prefix) for prefix in chosen.accepted}
    assert peers.accepted == accepted
    usable = [each for each in nodes.values() if overlay.is_usable(each)]
    served = {prefix for each in usable for prefix in each.allowed_ips if peers.serves(each.stable_id, prefix)}
    assert served <= set(peers.routes())
    assert {each.prefix for each in peers.offered()} == {
        str(prefix) for each in usable for prefix in overlay.served_routes(each)
    }
