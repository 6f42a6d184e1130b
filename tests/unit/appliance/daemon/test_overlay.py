from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from appliance.api import OfferedRoute, RouteSelection
from appliance.daemon.overlay import OverlayPeers, is_usable, routing_changed, served_routes
from appliance.types.ids import NodeId, StableNodeId
from appliance.types.keys import DiscoPublicKey, NodePublicKey
from appliance.types.netmap import NetmapDiff, Node

LAN = ip_network("192.168.20.0/24")
ACCEPTED = RouteSelection({str(LAN): ""})


def node(number: int, *routes: str, **changes: object) -> Node:
    own = ip_network(f"100.64.0.{number}/32"), ip_network(f"fd7a:115c:a1e0::{number}/128")
    made = Node(
        id=NodeId(number),
        stable_id=StableNodeId(f"n{number}"),
        name=f"gw{number}.mesh.",
        key=NodePublicKey(bytes([number]) * 32),
        disco_key=DiscoPublicKey(bytes([number]) * 32),
        addresses=own,
        allowed_ips=(*own, *(ip_network(route) for route in routes)),
    )
    return replace(made, **changes)


def exit_of(node: Node) -> RouteSelection:
    return RouteSelection({"0.0.0.0/0": ""}, via=(OfferedRoute("0.0.0.0/0", node.stable_id),))


def full(*nodes: Node) -> NetmapDiff:
    return NetmapDiff(full=True, changed={each.id: each for each in nodes})


def change(before: Node, after: Node) -> NetmapDiff:
    return NetmapDiff(changed={after.id: after}, previous={before.id: before})


def test_ok__own_addresses_pass_and_routes_wait_for_acceptance() -> None:
    peers = OverlayPeers()
    router = node(2, str(LAN))
    diff = peers.apply(full(router))
    assert diff.replace
    assert diff.upsert[0].allowed_ips == router.addresses
    accepted = peers.accept(ACCEPTED)
    assert accepted.upsert[0].allowed_ips == (*router.addresses, LAN)
    assert LAN in peers.routes()
    assert peers.accept(ACCEPTED).upsert == ()
    assert peers.accept(RouteSelection()).upsert[0].allowed_ips == router.addresses
    assert LAN not in peers.routes()


def test_ok__sources_are_peers_and_accepted_routes() -> None:
    peers = OverlayPeers()
    router, leaver, mute = node(2, str(LAN)), node(3), node(4, disco_key=None)
    peers.apply(full(router, leaver, mute))
    assert set(peers.sources()) == {*router.addresses, *leaver.addresses}
    peers.accept(ACCEPTED)
    assert set(peers.sources()) == {*router.addresses, *leaver.addresses, LAN}
    peers.apply(NetmapDiff(removed={leaver.id: leaver}))
    assert set(peers.sources()) == {*router.addresses, LAN}


def test_ok__diff_touches_only_what_it_names() -> None:
    peers = OverlayPeers()
    one, two = node(1), node(2)
    peers.apply(full(one, two))
    moved = replace(two, endpoints=(("203.0.113.5", 1),), online=True)
    diff = peers.apply(change(two, moved))
    assert (diff.upsert, diff.remove, diff.reset) == ((), (), ())


def test_ok__new_node_key_replaces_the_old_peer() -> None:
    peers = OverlayPeers()
    before = node(2)
    after = replace(before, key=NodePublicKey(b"\x77" * 32))
    peers.apply(full(before))
    diff = peers.apply(change(before, after))
    assert diff.remove == (before.key,)
    assert [peer.key for peer in diff.upsert] == [after.key]


def test_ok__new_disco_key_resets_the_session() -> None:
    peers = OverlayPeers()
    before = node(2)
    after = replace(before, disco_key=DiscoPublicKey(b"\x77" * 32))
    peers.apply(full(before))
    diff = peers.apply(change(before, after))
    assert diff.reset == (before.key,)
    assert diff.upsert == ()


def test_ok__removed_and_expired_peers_leave_engine_and_routes() -> None:
    peers = OverlayPeers()
    one, two = node(1), node(2, str(LAN))
    peers.apply(full(one, two))
    peers.accept(ACCEPTED)
    assert peers.apply(NetmapDiff(removed={one.id: one})).remove == (one.key,)
    expired = replace(two, expired=True)
    assert peers.apply(change(two, expired)).remove == (two.key,)
    assert not peers.routes()
    back = peers.apply(change(expired, two))
    assert back.upsert[0].allowed_ips == two.allowed_ips


def test_ok__full_map_forgets_who_is_not_in_it() -> None:
    peers = OverlayPeers()
    peers.apply(full(node(1), node(2, str(LAN))))
    peers.apply(full(node(1)))
    assert len(peers) == 1
    assert list(peers.offered()) == []


def test_ok__peers_without_a_way_to_speak_are_not_usable() -> None:
    assert is_usable(node(1))
    assert not is_usable(node(1, disco_key=None))
    assert is_usable(node(1, disco_key=None, wireguard_only=True))
    assert not is_usable(node(1, expired=True))


def test_ok__many_peers_share_one_route() -> None:
    peers = OverlayPeers()
    nodes = []
    for number in range(10_001):
        address = ip_network((0x64400000 + number, 32))
        nodes.append(replace(node(1), id=NodeId(number + 1), addresses=(address,), allowed_ips=(address,)))
    peers.apply(full(*nodes))
    assert [str(prefix) for prefix in peers.routes()] == ["100.64.0.0/10"]


def test_ok__host_routes_and_services() -> None:
    peers = OverlayPeers()
    peers.apply(full(node(1), node(2)))
    assert [str(p) for p in peers.routes()] == ["100.64.0.1/32", "100.64.0.2/32", "fd7a:115c:a1e0::/48"]


def test_ok__capability_holders_and_jailed() -> None:
    peers = OverlayPeers()
    peers.apply(full(node(1, cap_map={"cap:x": ()}), node(2, jailed=True)))
    assert [str(a) for a in peers.holders("cap:x")] == ["100.64.0.1", "fd7a:115c:a1e0::1"]
    assert [str(p) for p in peers.jailed()] == ["100.64.0.2/32", "fd7a:115c:a1e0::2/128"]


def test_ok__single_overlay_address_beyond_the_own_is_no_route() -> None:
    assert served_routes(node(1, "100.64.0.99/32", str(LAN))) == (LAN,)
    via_host = "fd7a:115c:a1e0:b1a:0:7:c0a8:105/128"
    assert served_routes(node(1, via_host)) == (ip_network(via_host),), "one host of a site, not a node"


def test_ok__presence_and_endpoints_need_no_routing() -> None:
    before = node(2)
    assert not routing_changed(change(before, replace(before, online=True, endpoints=(("203.0.113.5", 1),))))
    assert routing_changed(change(before, node(2, str(LAN))))
    assert routing_changed(change(before, replace(before, expired=True)))
    assert routing_changed(NetmapDiff(changed={before.id: before}))
    assert routing_changed(NetmapDiff(filter_changed=True))
    assert not routing_changed(NetmapDiff(users_changed=True))


def test_ok__of_several_exits_one_is_used() -> None:
    peers, default = OverlayPeers(), ip_network("0.0.0.0/0")
    first, second = node(2, str(default)), node(3, str(default))
    peers.apply(full(first, second))
    chosen = peers.accept(exit_of(first))
    assert {peer.key: default in peer.allowed_ips for peer in chosen.upsert} == {first.key: True, second.key: False}
    moved = peers.accept(exit_of(second))
    assert [(peer.key, default in peer.allowed_ips) for peer in moved.upsert] == [
        (first.key, False),
        (second.key, True),
    ], "no two hold it at a time"
    assert default in peers.routes()
    gone = peers.apply(NetmapDiff(removed={second.id: second}))
    assert gone.remove == (second.key,)
    assert default not in peers.routes(), "the other exit does not take over by itself"
