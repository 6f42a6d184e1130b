"""Map responses applied in the order of the spec, with the rewrites of stock clients (spec section 10)."""

import time
from datetime import UTC, datetime

import pytest

from appliance.proto.control import messages as wire
from appliance.proto.control.delta import MapSessionMark, WireNetmap
from appliance.types.errors import DecodeError

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def make_node(node_id: int, **fields: object) -> wire.Node:
    return wire.Node(id=node_id, name=f"n{node_id}.example.", key="nodekey:" + "0" * 62 + "01", **fields)  # type: ignore[arg-type]


def started(*peers: wire.Node) -> WireNetmap:
    netmap = WireNetmap()
    netmap.apply(wire.MapResponse(node=make_node(1), peers=list(peers)), NOW)
    return netmap


def test_fail__first_message_without_node() -> None:
    netmap = WireNetmap()
    netmap.apply(wire.MapResponse(keep_alive=True), NOW)
    with pytest.raises(DecodeError):
        netmap.apply(wire.MapResponse(peers=[make_node(2)]), NOW)
    assert not netmap.peers


def test_ok__first_message() -> None:
    netmap = WireNetmap()
    applied = netmap.apply(wire.MapResponse(node=make_node(1), peers=[make_node(2), make_node(3)]), NOW)
    assert applied.full
    assert applied.node
    assert applied.added == {2, 3}


def test_ok__added_changed_removed() -> None:
    netmap = started(make_node(2), make_node(3))
    applied = netmap.apply(
        wire.MapResponse(peers_changed=[make_node(3, tags=["tag:a"]), make_node(4)], peers_removed=[2, 99]), NOW
    )
    assert (applied.added, applied.changed, applied.removed) == ({4}, {3}, {2})
    assert sorted(netmap.peers) == [3, 4]
    assert netmap.peers[3].tags == ["tag:a"]


def test_ok__full_list_replaces_and_hides_other_peer_fields() -> None:
    netmap = started(make_node(2), make_node(3))
    applied = netmap.apply(
        wire.MapResponse(peers=[make_node(3), make_node(4)], peers_removed=[3], online_change={3: True}), NOW
    )
    assert (applied.added, applied.changed, applied.removed) == ({4}, set(), {2})
    assert netmap.peers[3].online is None


def test_ok__a_peer_named_twice_counts_once() -> None:
    netmap = started(make_node(2))
    applied = netmap.apply(wire.MapResponse(peers=[make_node(2), make_node(2, cap=1), make_node(3), make_node(3)]), NOW)
    assert (applied.added, applied.changed, applied.removed) == ({3}, {2}, set())
    again = [make_node(4), make_node(4, tags=["tag:a"]), make_node(2, tags=["tag:a"])]
    applied = netmap.apply(wire.MapResponse(peers_removed=[2], peers_changed=again), NOW)
    assert (applied.added, applied.changed, applied.removed) == ({4}, {2}, set())


def test_ok__empty_list_is_unchanged() -> None:
    netmap = started(make_node(2))
    assert netmap.apply(wire.MapResponse(peers=[]), NOW).removed == set()
    assert 2 in netmap.peers


def test_ok__apply_order_patch_last() -> None:
    netmap = started(make_node(2, online=False))
    netmap.apply(
        wire.MapResponse(
            online_change={2: False, 50: True},
            peer_seen_change={2: True},
            peers_changed_patch=[
                wire.PeerChange(node_id=2, online=True, derp_region=7, endpoints=["192.0.2.1:1"], cap=130),
                wire.PeerChange(node_id=51, online=True),
            ],
        ),
        NOW,
    )
    peer = netmap.peers[2]
    assert (peer.online, peer.home_derp, peer.endpoints, peer.cap) == (True, 7, ["192.0.2.1:1"], 130)
    assert peer.last_seen == "2026-01-01T12:00:00Z"


def test_ok__patch_clears_with_present_but_empty() -> None:
    netmap = started(make_node(2, endpoints=["192.0.2.1:1"], cap_map={"a": []}, home_derp=3))
    netmap.apply(wire.MapResponse(peers_changed_patch=[wire.PeerChange(node_id=2, endpoints=[], cap_map={})]), NOW)
    peer = netmap.peers[2]
    assert (peer.endpoints, peer.cap_map, peer.home_derp) == ([], {}, 3)


def test_ok__changed_peer_that_differs_in_patchable_fields_loses_what_patches_cannot_say() -> None:
    netmap = started(make_node(2, home_derp=3, endpoints=["192.0.2.1:1"]))
    applied = netmap.apply(wire.MapResponse(peers_changed=[make_node(2, online=True, cap=99)]), NOW)
    peer = netmap.peers[2]
    assert applied.changed == {2}
    assert (peer.home_derp, peer.endpoints, peer.online, peer.cap) == (3, ["192.0.2.1:1"], None, 99)


def test_ok__changed_peer_that_differs_elsewhere_is_replaced() -> None:
    netmap = started(make_node(2, home_derp=3, endpoints=["192.0.2.1:1"]))
    netmap.apply(wire.MapResponse(peers_changed=[make_node(2, tags=["tag:a"])]), NOW)
    assert (netmap.peers[2].home_derp, netmap.peers[2].endpoints) == (0, None)


OLD, NEW = "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"


@pytest.mark.parametrize(
    ("online", "last_seen", "taken"),
    [(False, OLD, False), (False, NEW, True), (True, OLD, True), (None, "", True), (False, "", True)],
)
def test_ok__disco_key_guard_of_patches(online: bool | None, last_seen: str, taken: bool) -> None:
    netmap = started(make_node(2, disco_key="discokey:old", last_seen=OLD, online=True, cap=1))
    patch = wire.PeerChange(node_id=2, disco_key="discokey:new", online=online, last_seen=last_seen, cap=2)
    applied = netmap.apply(wire.MapResponse(peers_changed_patch=[patch]), NOW)
    assert (netmap.peers[2].disco_key == "discokey:new") is taken
    assert (netmap.peers[2].cap == 2) is taken
    assert applied.dropped == (0 if taken else 1)


@pytest.mark.parametrize(("online", "last_seen", "taken"), [(None, OLD, False), (True, OLD, True), (False, NEW, True)])
def test_ok__disco_key_guard_of_full_lists(online: bool | None, last_seen: str, taken: bool) -> None:
    netmap = started(make_node(2, disco_key="discokey:old", last_seen=OLD))
    node = make_node(2, disco_key="discokey:new", online=online, last_seen=last_seen)
    netmap.apply(wire.MapResponse(peers=[node]), NOW)
    assert (netmap.peers[2].disco_key == "discokey:new") is taken


def test_ok__filter_chunks() -> None:
    def rule(name: str) -> list[wire.FilterRule]:
        return [wire.FilterRule(src_ips=[name])]

    netmap = started()
    assert netmap.packet_filter() == []
    netmap.apply(wire.MapResponse(packet_filters={"z": rule("z"), "a": rule("a")}, packet_filter=rule("base")), NOW)
    assert [one.src_ips[0] for one in netmap.packet_filter()] == ["a", "base", "z"]
    assert not netmap.apply(wire.MapResponse(domain="x"), NOW).packet_filter
    netmap.apply(wire.MapResponse(packet_filters={"a": None}), NOW)
    assert [one.src_ips[0] for one in netmap.packet_filter()] == ["base", "z"]
    netmap.apply(wire.MapResponse(packet_filters={"n": rule("n"), "*": None}), NOW)
    assert [one.src_ips[0] for one in netmap.packet_filter()] == ["n"]
    netmap.apply(wire.MapResponse(packet_filter=[]), NOW)
    assert [one.src_ips[0] for one in netmap.packet_filter()] == ["n"]


def test_ok__derp_map_delta() -> None:
    netmap = started()
    region = wire.DerpRegion(region_id=1, region_code="a", region_name="A")
    netmap.apply(wire.MapResponse(derp_map=wire.DerpMap(regions={"1": region})), NOW)
    scores = wire.DerpHomeParams(region_score={"1": 0.5})
    assert netmap.apply(wire.MapResponse(derp_map=wire.DerpMap(home_params=scores)), NOW).derp_map
    assert netmap.derp_map.regions == {"1": region}
    assert netmap.derp_map.home_params == scores
    netmap.apply(wire.MapResponse(derp_map=wire.DerpMap(home_params=wire.DerpHomeParams(region_score={}))), NOW)
    assert netmap.derp_map.home_params == wire.DerpHomeParams(region_score={})


def test_ok__new_stream_tells_the_difference_only() -> None:
    netmap = started(make_node(2), make_node(3))
    netmap.apply(wire.MapResponse(packet_filter=[wire.FilterRule(src_ips=["*"])]), NOW)
    netmap.begin_stream()
    applied = netmap.apply(wire.MapResponse(node=make_node(1), peers=[make_node(3), make_node(4)]), NOW)
    assert applied.full
    assert (applied.added, applied.changed, applied.removed) == ({4}, set(), {2})
    assert netmap.packet_filter() == []


def test_ok__new_stream_without_peers_drops_all() -> None:
    netmap = started(make_node(2))
    netmap.begin_stream()
    assert netmap.apply(wire.MapResponse(node=make_node(1)), NOW).removed == {2}


def test_ok__legacy_spellings() -> None:
    netmap = started(make_node(2, legacy_derp="127.3.3.40:17", capabilities=["a"], cap_map={"b": [1]}))
    assert netmap.peers[2].home_derp == 17
    assert netmap.peers[2].cap_map == {"a": [], "b": [1]}


def test_fail__unusable_ids_are_dropped_alone() -> None:
    netmap = started(make_node(0), make_node(-1), make_node(2**53), make_node(2))
    assert sorted(netmap.peers) == [2]


def test_ok__messages_patch_health() -> None:
    netmap = started()
    netmap.apply(wire.MapResponse(display_messages={"a": wire.DisplayMessage(title="A")}), NOW)
    netmap.apply(wire.MapResponse(display_messages={"*": None, "b": wire.DisplayMessage(title="B")}), NOW)
    assert list(netmap.display_messages) == ["b"]


def test_ok__a_delta_costs_the_same_with_many_peers() -> None:
    """Design section 7: a one-peer delta takes < 1 ms, however many peers there are."""

    def cost(peers: int) -> float:
        netmap = started(*(make_node(number) for number in range(2, peers)))
        best = 1.0
        for number in range(50):
            patch = wire.PeerChange(node_id=2 + number % 50, online=True, derp_region=number + 1)
            begin = time.perf_counter()
            netmap.apply(wire.MapResponse(peers_changed_patch=[patch]), NOW)
            best = min(best, time.perf_counter() - begin)
        return best

    assert cost(20_000) < 0.001


def resumable(*peers: wire.Node) -> WireNetmap:
    netmap = WireNetmap()
    netmap.apply(wire.MapResponse(node=make_node(1), peers=list(peers), map_session_handle="h", seq=4), NOW)
    assert netmap.session == MapSessionMark("h", 4)
    return netmap


def test_ok__a_session_goes_on_in_the_next_stream() -> None:
    netmap = resumable(make_node(2), make_node(3))
    netmap.apply(wire.MapResponse(peers_removed=[3]), NOW)
    assert netmap.session.seq == 4, "the batch is not whole"
    netmap.apply(wire.MapResponse(keep_alive=True), NOW)
    netmap.apply(wire.MapResponse(domain="example", seq=7), NOW)
    assert netmap.session == MapSessionMark("h", 7)
    netmap.begin_stream()
    more = wire.MapResponse(node=make_node(1), peers_changed=[make_node(4)], map_session_handle="h", seq=9)
    applied = netmap.apply(more, NOW)
    assert (applied.full, applied.added, sorted(netmap.peers)) == (False, {4}, [2, 4])
    assert netmap.session == MapSessionMark("h", 9)


def test_ok__another_session_begins_anew() -> None:
    netmap = resumable(make_node(2))
    netmap.begin_stream()
    applied = netmap.apply(wire.MapResponse(node=make_node(1), map_session_handle="other", seq=5), NOW)
    assert (applied.full, applied.removed, netmap.session) == (True, {2}, MapSessionMark("other", 5))
    netmap.begin_stream()
    assert netmap.apply(wire.MapResponse(node=make_node(1)), NOW).full
    assert netmap.session == MapSessionMark()


def test_fail__a_resumed_stream_needs_the_node_too() -> None:
    netmap = resumable(make_node(2))
    netmap.begin_stream()
    with pytest.raises(DecodeError):
        netmap.apply(wire.MapResponse(peers_changed=[make_node(4)], map_session_handle="h", seq=9), NOW)
