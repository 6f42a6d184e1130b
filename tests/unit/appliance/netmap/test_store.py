"""The netmap store: values, indexes, diffs, expiry, and the cost of a delta."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

import pytest

from appliance.netmap.store import STEP_NODES, NetmapStore
from appliance.proto.control import messages as wire
from appliance.types.addresses import AddrPort, parse_prefix
from appliance.types.errors import DecodeError
from appliance.types.ids import NodeId, RegionId, StableNodeId, UserId
from appliance.types.keys import NodePublicKey
from appliance.types.netmap import NetmapDiff
from tests.effort import lines_run

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def node(number: int, **fields: Any) -> wire.Node:
    values: dict[str, Any] = {
        "id": number,
        "stable_id": f"n{number}",
        "name": f"node{number}.net.example.",
        "user": 1,
        "key": f"nodekey:{number:064x}",
        "addresses": [f"100.{64 + (number >> 16)}.{(number >> 8) & 255}.{number & 255}/32"],
        "online": True,
        "machine_authorized": True,
        **fields,
    }
    return wire.Node(**values)


def started(*peers: wire.Node, **fields: Any) -> NetmapStore:
    store = NetmapStore()
    store.apply(wire.MapResponse(node=node(1), peers=list(peers), **fields), NOW)
    return store


def test_ok__a_large_map_goes_in_by_steps() -> None:
    store = started(node(2))
    store.begin_stream()
    peers = [node(number) for number in range(3, 3 + 3 * STEP_NODES)]
    steps = store.steps(wire.MapResponse(node=node(1), peers=peers), NOW)
    for _ in range(3):
        next(steps)
        assert list(store.peers) == [2]
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert set(end.value.value.changed) == set(store.peers) == {peer.id for peer in peers}


def test_ok__full_map() -> None:
    store = NetmapStore()
    response = wire.MapResponse(
        node=node(1),
        peers=[node(2), node(3)],
        domain="net.example",
        user_profiles=[wire.UserProfile(id=1, login_name="ann")],
        packet_filter=[wire.FilterRule(src_ips=["*"], dst_ports=[wire.NetPortRange(ip="*")])],
        dns_config=wire.DnsConfig(domains=["net.example"]),
        health=["too old"],
        display_messages={"x": wire.DisplayMessage(title="t", text="shown")},
    )
    diff = store.apply(response, NOW)
    assert diff.full
    assert diff.self_changed
    assert diff.filter_changed
    assert diff.users_changed
    assert list(diff.changed) == [2, 3]
    assert store.view.domain == "net.example"
    assert store.view.users[UserId(1)].login_name == "ann"
    assert store.view.dns.domains == ("net.example",)
    assert store.view.control_messages == ("too old", "shown")
    assert len(store.view.filter_rules) == 1


def test_ok__control_that_lost_a_disco_key_ends_no_session() -> None:
    disco = "discokey:" + "d" * 64
    store = started(node(2, disco_key=disco, endpoints=["192.0.2.1:41641"], home_derp=9))
    before = store.view.peers[NodeId(2)]
    store.begin_stream()
    store.apply(wire.MapResponse(node=node(1), peers=[node(2)]), NOW)
    assert store.view.peers[NodeId(2)] == before
    other = node(2, key="nodekey:" + "e" * 64)
    store.begin_stream()
    store.apply(wire.MapResponse(node=node(1), peers=[other]), NOW)
    assert store.view.peers[NodeId(2)].disco_key is None, "another node key is another session"


def test_ok__view_is_read_only() -> None:
    view = started(node(2)).view
    with pytest.raises(TypeError):
        view.peers[NodeId(9)] = view.peers[NodeId(2)]  # type: ignore[index]  # the point of the test
    with pytest.raises(AttributeError):
        view.domain = "other"  # type: ignore[misc]  # the point of the test


def test_ok__indexes_follow_changes() -> None:
    store = started(node(2), node(3))
    assert store.peer_by_key(NodePublicKey((2).to_bytes(32))) is store.peers[NodeId(2)]
    assert store.peer_by_address(ip_address("100.64.0.3")) is store.peers[NodeId(3)]
    assert store.peer_by_stable_id(StableNodeId("n3")) is store.peers[NodeId(3)]
    # Node 2 goes, node 4 takes its key and address over in the same message.
    taken = node(4, key=f"nodekey:{2:064x}", addresses=["100.64.0.2/32"])
    diff = store.apply(wire.MapResponse(peers_removed=[2], peers_changed=[taken]), NOW)
    assert set(diff.removed) == {2}
    assert set(diff.changed) == {4}
    assert store.peer_by_key(NodePublicKey((2).to_bytes(32))) is store.peers[NodeId(4)]
    assert store.peer_by_address(ip_address("100.64.0.2")) is store.peers[NodeId(4)]
    assert store.peer_by_stable_id(StableNodeId("n2")) is None


def test_ok__changed_key_moves_the_index() -> None:
    store = started(node(2))
    diff = store.apply(
        wire.MapResponse(peers_changed_patch=[wire.PeerChange(node_id=2, key=f"nodekey:{99:064x}")]), NOW
    )
    assert diff.previous[NodeId(2)].key != diff.changed[NodeId(2)].key
    assert store.peer_by_key(NodePublicKey((2).to_bytes(32))) is None
    assert store.peer_by_key(NodePublicKey((99).to_bytes(32))) is store.peers[NodeId(2)]


def test_ok__unchanged_things_make_no_diff() -> None:
    store = started(node(2))
    assert store.apply(wire.MapResponse(online_change={2: True}), NOW).empty
    assert store.apply(wire.MapResponse(keep_alive=True), NOW).empty
    assert store.apply(wire.MapResponse(peers_removed=[77]), NOW).empty
    assert store.apply(wire.MapResponse(node=node(1)), NOW).empty
    assert not store.apply(wire.MapResponse(online_change={2: False}), NOW).empty


def test_ok__new_stream_tells_what_is_gone() -> None:
    store = started(node(2), node(3))
    store.begin_stream()
    assert set(store.peers) == {2, 3}, "in use until the first message"
    diff = store.apply(wire.MapResponse(node=node(1), peers=[node(3), node(4)]), NOW)
    assert diff.full
    assert set(diff.changed) == {3, 4}
    assert set(diff.previous) == {3}
    assert set(diff.removed) == {2}
    assert set(store.peers) == {3, 4}


def test_fail__bad_peer_is_dropped_and_others_stay() -> None:
    store = started(node(2), node(3, key="nodekey:zz"))
    assert set(store.peers) == {2}
    assert store.dropped == 1
    diff = store.apply(wire.MapResponse(peers_changed=[node(2, name="", tags=["tag:x"])]), NOW)
    assert set(diff.removed) == {2}, "what it has become is unknown, so it is no peer any more"


def test_fail__stream_without_self_node() -> None:
    with pytest.raises(DecodeError):
        NetmapStore().apply(wire.MapResponse(peers=[node(2)]), NOW)


def test_ok__allowed_ips() -> None:
    store = started(node(2), node(3, allowed_ips=["100.64.0.3/32", "10.0.0.0/8", "10.0.0.1/8"]))
    assert store.peers[NodeId(2)].allowed_ips == (parse_prefix("100.64.0.2/32"),)
    assert store.peers[NodeId(3)].allowed_ips == (parse_prefix("100.64.0.3/32"), parse_prefix("10.0.0.0/8"))


def test_ok__peer_expires_with_time() -> None:
    expiry = wire.format_time(NOW + timedelta(hours=1))
    store = started(node(2, key_expiry=expiry, endpoints=["192.0.2.1:1"], home_derp=5), node(3))
    assert store.peers[NodeId(2)].endpoints == (AddrPort("192.0.2.1", 1),)
    assert store.apply(wire.MapResponse(keep_alive=True), NOW + timedelta(minutes=59)).empty
    diff = store.apply(wire.MapResponse(keep_alive=True), NOW + timedelta(minutes=61))
    assert set(diff.changed) == {2}
    peer = store.peers[NodeId(2)]
    assert peer.expired
    assert peer.endpoints == ()
    assert peer.home_derp == RegionId(0)
    renewed = wire.PeerChange(node_id=2, key_expiry=wire.format_time(NOW + timedelta(days=9)))
    diff = store.apply(wire.MapResponse(peers_changed_patch=[renewed]), NOW + timedelta(hours=2))
    assert not store.peers[NodeId(2)].expired
    assert store.peers[NodeId(2)].home_derp == RegionId(5)


def test_ok__expiry_follows_the_servers_clock() -> None:
    expiry = wire.format_time(NOW + timedelta(hours=1))
    far = wire.format_time(NOW + timedelta(hours=2))
    assert started(node(2, key_expiry=expiry), control_time=far).peers[NodeId(2)].expired
    near = wire.format_time(NOW + timedelta(seconds=30))
    store = started(node(2, key_expiry=expiry), control_time=near)
    assert store.server_now(NOW) == NOW


def test_ok__delta_costs_the_same_in_a_large_mesh() -> None:
    def effort(size: int) -> int:
        store = started(*(node(number) for number in range(2, size)))
        patch = wire.PeerChange(node_id=2, endpoints=["192.0.2.1:1"])
        diffs: list[NetmapDiff] = []
        lines = lines_run(lambda: diffs.append(store.apply(wire.MapResponse(peers_changed_patch=[patch]), NOW)))
        assert set(diffs[0].changed) == {2}
        return lines

    assert effort(5000) == effort(10)
