"""A viewer's stream against a real netmap: after every `take` the client sees what a fresh full map would show."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import msgspec
import pytest

from appliance.proto.control import messages as wire
from appliance.proto.control.delta import WireNetmap
from appliance.types.addresses import AddrPort, Prefix
from appliance.types.ids import NodeId, StableNodeId, UserId
from appliance.types.keys import DiscoPublicKey, MachinePublicKey, NodePublicKey
from appliance.types.netmap import DerpMap, DerpNode, DerpRegion, FilterRule, PortRange
from control.mapper.nodes import PeerNodes
from control.mapper.viewer import PEERS_PER_MESSAGE, Viewer
from control.state.changes import Change, NodeChange
from control.state.mesh import MeshModel
from control.state.records import NodeRecord, UserRecord
from tests.unit.control.open_policy import OpenPolicy

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SUBNET = ip_network("192.168.10.0/24")


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def make_record(number: int, **fields: Any) -> NodeRecord:
    values: dict[str, Any] = {
        "id": NodeId(number),
        "stable_id": StableNodeId(f"n{number}"),
        "user_id": UserId(1),
        "machine_key": MachinePublicKey(key(1000 + number)),
        "node_key": NodePublicKey(key(number)),
        "given_name": f"n{number}",
        "ipv4": IPv4Address("100.64.0.0") + number,
        "ipv6": IPv6Address("fd7a:115c:a1e0::") + number,
        "created": NOW,
        "capability_version": 130,
        "hostinfo": wire.Hostinfo(os="linux", hostname=f"n{number}", distro="secret of the node"),
    }
    return NodeRecord(**{**values, **fields})


class Mesh:
    """A mesh and the stream of node 1, told of every change."""

    def __init__(self, *numbers: int, version: int = 130) -> None:
        self.policy = OpenPolicy(rules=(FilterRule(src_ips=("*",), dst_ports=(PortRange("*"),)),))
        self.model = MeshModel(domain="mesh.test", derp_map=DerpMap(), policy=self.policy)
        self.policy.nodes = self.model.nodes
        self.model.put_user(UserRecord(UserId(1), "alice", NOW, email="alice@example.org"))
        for number in numbers:
            self.model.put_node(make_record(number))
        self.viewer = Viewer(self.model, PeerNodes(self.model), NodeId(1), version)
        self.netmap = WireNetmap()
        for response in self.viewer.full_map(NOW):
            self.apply(response)

    def apply(self, response: wire.MapResponse) -> None:
        self.netmap.apply(wire.decode(wire.MapResponse, wire.encode(response)), NOW)

    def tell(self) -> list[wire.MapResponse]:
        told = self.viewer.take(NOW)
        for response in told:
            self.apply(response)
        return told

    def publish(self, *nodes: NodeChange, **fields: Any) -> None:
        self.viewer.note(Change(revision=1, nodes=nodes, viewers=frozenset(self.model.nodes), **fields))

    def put(self, record: NodeRecord) -> None:
        before = self.model.put_node(record)
        self.publish(NodeChange(before, record))

    def change(self, number: int, **fields: Any) -> None:
        self.put(replace(self.model.nodes[NodeId(number)], **fields))

    def remove(self, number: int) -> None:
        before = self.model.remove_node(NodeId(number))
        self.publish(NodeChange(before, None))

    def set_online(self, number: int, online: bool) -> None:
        self.model.set_online(NodeId(number), online)
        self.publish(online={NodeId(number): online})

    def set_primary(self, route: Prefix, number: int | None) -> None:
        moved = self.model.set_primaries({route: None if number is None else NodeId(number)})
        self.publish(routes_moved=moved)

    def fresh(self) -> WireNetmap:
        """What a new stream would be told."""
        netmap = WireNetmap()
        for response in Viewer(self.model, PeerNodes(self.model), NodeId(1), 130).full_map(NOW):
            netmap.apply(wire.decode(wire.MapResponse, wire.encode(response)), NOW)
        return netmap

    def assert_current(self) -> None:
        fresh = self.fresh()

        def seen(netmap: WireNetmap) -> dict[int, wire.Node]:
            plain = {}
            for node_id, node in netmap.peers.items():
                # Patches say "never" as the zero time, and LastSeen of a node that is back is not taken back.
                expiry = node.key_expiry.replace(wire.ZERO_TIME, "")
                plain[node_id] = msgspec.structs.replace(node, last_seen="", key_expiry=expiry)
            return plain

        assert seen(self.netmap) == seen(fresh)
        assert self.netmap.packet_filter() == fresh.packet_filter()
        assert self.netmap.users.keys() >= fresh.users.keys()


def test_ok__full_map() -> None:
    mesh = Mesh(1, 3, 2)
    assert list(mesh.netmap.peers) == [2, 3]
    node = mesh.netmap.node
    assert node is not None
    assert node.name == "n1.mesh.test."
    assert node.addresses == ["100.64.0.1/32", "fd7a:115c:a1e0::1/128"]
    assert node.machine_authorized
    assert node.hostinfo is not None
    assert node.hostinfo.distro == "secret of the node"
    peer = mesh.netmap.peers[2]
    assert peer.hostinfo == wire.Hostinfo(os="linux", hostname="n2")
    assert peer.online is False
    assert peer.allowed_ips == peer.addresses
    assert mesh.netmap.users[1].login_name == "alice@example.org"
    assert mesh.netmap.dns_config.routes["mesh.test"] == []
    assert mesh.netmap.collect_services is False


def test_ok__old_client_gets_the_old_filter_form() -> None:
    mesh = Mesh(1, version=80)
    (first,) = Viewer(mesh.model, PeerNodes(mesh.model), NodeId(1), 80).full_map(NOW)
    assert first.packet_filter
    assert first.packet_filters == {}


def test_ok__many_peers_come_in_several_messages() -> None:
    mesh = Mesh(1, *range(2, PEERS_PER_MESSAGE * 2 + 10))
    told = mesh.viewer.full_map(NOW)
    assert [len(one.peers) + len(one.peers_changed) for one in told] == [PEERS_PER_MESSAGE, PEERS_PER_MESSAGE, 8]
    assert len(mesh.netmap.peers) == PEERS_PER_MESSAGE * 2 + 8


def test_ok__nothing_new_nothing_said() -> None:
    mesh = Mesh(1, 2)
    mesh.publish()
    assert mesh.tell() == []


def test_ok__patch_for_paths_whole_node_for_the_rest() -> None:
    mesh = Mesh(1, 2)
    mesh.change(2, endpoints=(AddrPort("192.0.2.1", 1),), home_derp=900, disco_key=DiscoPublicKey(key(9)))
    (told,) = mesh.tell()
    assert told.peers_changed == []
    (patch,) = told.peers_changed_patch
    assert (patch.endpoints, patch.derp_region, patch.disco_key) == (["192.0.2.1:1"], 900, str(DiscoPublicKey(key(9))))
    mesh.change(2, given_name="renamed")
    (told,) = mesh.tell()
    assert [node.name for node in told.peers_changed] == ["renamed.mesh.test."]
    mesh.assert_current()


def test_ok__net_info_alone_is_no_news_for_peers() -> None:
    mesh = Mesh(1, 2)
    hostinfo = wire.Hostinfo(os="linux", hostname="n2", net_info=wire.NetInfo(preferred_derp=1))
    mesh.change(2, hostinfo=hostinfo)
    assert mesh.tell() == []


def test_ok__cleared_endpoints_and_home_are_said() -> None:
    mesh = Mesh(1, 2)
    mesh.change(2, endpoints=(AddrPort("192.0.2.1", 1),), home_derp=900, disco_key=DiscoPublicKey(key(9)))
    mesh.tell()
    mesh.change(2, endpoints=(), disco_key=None)
    mesh.tell()
    assert mesh.netmap.peers[2].endpoints == []
    assert mesh.netmap.peers[2].disco_key == str(DiscoPublicKey.zero())


def test_ok__a_burst_is_one_message_with_the_last_state() -> None:
    mesh = Mesh(1, 2)
    for number in range(1, 50):
        mesh.change(2, endpoints=(AddrPort("192.0.2.1", number),))
    (told,) = mesh.tell()
    assert [patch.endpoints for patch in told.peers_changed_patch] == [["192.0.2.1:49"]]
    assert mesh.tell() == []


def test_ok__back_to_what_the_viewer_knows_is_no_news() -> None:
    mesh = Mesh(1, 2)
    mesh.change(2, home_derp=0, endpoints=(AddrPort("192.0.2.1", 1),))
    mesh.change(2, endpoints=())
    assert mesh.tell() == []


def test_ok__a_new_owner_comes_in_a_message_that_stock_clients_take_whole() -> None:
    mesh = Mesh(1, 2, 3)
    mesh.put(make_record(2, user_id=None, tags=("tag:srv",)))
    (told,) = mesh.tell()
    assert [profile.login_name for profile in told.user_profiles] == ["tagged-devices"]
    assert told.domain == "mesh.test"
    mesh.put(make_record(3, user_id=None, tags=("tag:srv",)))
    (told,) = mesh.tell()
    assert (told.peers_changed[0].user, told.user_profiles, told.domain) == (2147455555, [], "")


def test_ok__added_and_removed_with_the_owner_profile() -> None:
    mesh = Mesh(1)
    mesh.model.put_user(UserRecord(UserId(2), "bob", NOW))
    mesh.put(make_record(2, user_id=UserId(2)))
    (told,) = mesh.tell()
    assert [profile.login_name for profile in told.user_profiles] == ["bob"]
    mesh.put(make_record(3, user_id=UserId(2)))
    (told,) = mesh.tell()
    assert told.user_profiles == []
    mesh.remove(2)
    (told,) = mesh.tell()
    assert told.peers_removed == [2]
    assert told.peers == []


def test_ok__added_and_gone_before_it_was_told() -> None:
    mesh = Mesh(1)
    mesh.put(make_record(2))
    mesh.remove(2)
    assert mesh.tell() == []


def test_ok__presence() -> None:
    mesh = Mesh(1, 2)
    mesh.set_online(2, True)
    (told,) = mesh.tell()
    assert told.online_change == {2: True}
    assert mesh.netmap.peers[2].online is True
    mesh.change(2, last_seen=NOW)
    mesh.set_online(2, False)
    (told,) = mesh.tell()
    assert told.online_change == {2: False}
    assert mesh.netmap.peers[2].last_seen == "2026-01-01T00:00:00Z"


def test_ok__new_disco_key_is_never_dropped_by_the_guard() -> None:
    mesh = Mesh(1, 2)
    mesh.set_online(2, True)
    mesh.tell()
    mesh.change(2, last_seen=NOW)
    mesh.set_online(2, False)
    mesh.tell()
    mesh.change(2, disco_key=DiscoPublicKey(key(5)), last_seen=NOW - timedelta(1))
    mesh.set_online(2, False)
    mesh.tell()
    assert mesh.netmap.peers[2].disco_key == str(DiscoPublicKey(key(5)))


def test_ok__primary_route_moves() -> None:
    mesh = Mesh(1, 2, 3)
    for number in (2, 3):
        mesh.change(number, advertised_routes=(SUBNET,), approved_routes=(SUBNET,))
    mesh.set_primary(SUBNET, 2)
    mesh.tell()
    assert str(SUBNET) in (mesh.netmap.peers[2].allowed_ips or [])
    mesh.set_primary(SUBNET, 3)
    mesh.tell()
    assert mesh.netmap.peers[2].allowed_ips == mesh.netmap.peers[2].addresses
    assert mesh.netmap.peers[3].primary_routes == [str(SUBNET)]
    mesh.assert_current()


def test_ok__own_change_is_told_only_when_it_is_news() -> None:
    mesh = Mesh(1, 2)
    mesh.change(1, endpoints=(AddrPort("192.0.2.1", 1),), home_derp=900)
    assert mesh.tell() == []
    mesh.change(1, key_expiry=NOW)
    (told,) = mesh.tell()
    assert told.node is not None
    assert told.node.key_expiry == "2026-01-01T00:00:00Z"


def test_ok__policy_hides_and_shows() -> None:
    mesh = Mesh(1, 2, 3)
    mesh.policy.pairs.add(frozenset((NodeId(1), NodeId(2))))
    mesh.policy.rules = ()
    mesh.publish(everything=True)
    (told,) = mesh.tell()
    assert told.peers_removed == [2]
    assert told.packet_filters == {"base": []}
    assert mesh.netmap.packet_filter() == []
    mesh.policy.pairs.clear()
    mesh.publish(everything=True)
    (told,) = mesh.tell()
    assert [node.id for node in told.peers_changed] == [2]
    assert told.packet_filters == {}
    mesh.assert_current()


def test_ok__a_hidden_peer_is_not_told_of() -> None:
    mesh = Mesh(1, 2)
    mesh.policy.pairs.add(frozenset((NodeId(1), NodeId(3))))
    mesh.put(make_record(3))
    mesh.set_online(3, True)
    assert mesh.tell() == []


def test_ok__derp_map_only_when_it_differs() -> None:
    mesh = Mesh(1)
    region = DerpRegion(900, "own", "Own", (DerpNode("900a", 900, "192.0.2.1"),))  # type: ignore[arg-type]
    mesh.model.set_derp_map(DerpMap(regions={region.id: region}))
    mesh.publish(everything=True)
    (told,) = mesh.tell()
    assert told.derp_map is not None
    assert list(told.derp_map.regions or {}) == ["900"]
    mesh.publish(everything=True)
    assert all(one.derp_map is None for one in mesh.tell())


def test_ok__removed_viewer_hears_that_its_login_is_over() -> None:
    mesh = Mesh(1, 2)
    mesh.remove(1)
    (farewell,) = mesh.tell()
    assert farewell.node is not None
    assert (farewell.node.id, farewell.node.key) == (1, str(NodePublicKey(key(1))))
    assert farewell.node.key_expiry == farewell.control_time != ""
    assert not farewell.node.online
    assert mesh.viewer.gone
    assert mesh.tell() == []


@pytest.mark.parametrize("seed", range(25))
def test_ok__any_history_ends_where_a_fresh_map_is(seed: int) -> None:
    """Model: random changes, told at random moments."""
    rng = random.Random(seed)
    mesh = Mesh(1, 2, 3, 4)
    others = range(2, 8)
    for _ in range(60):
        number = rng.choice(others)
        known = NodeId(number) in mesh.model.nodes
        match rng.randrange(10):
            case 0 if known:
                mesh.remove(number)
            case 1 if not known:
                mesh.put(make_record(number))
            case 2 if known:
                mesh.change(number, endpoints=(AddrPort("192.0.2.1", rng.randrange(1, 9)),))
            case 3 if known:
                mesh.change(number, home_derp=rng.randrange(1, 4), key_expiry=rng.choice([None, NOW]))
            case 4 if known:
                mesh.change(number, advertised_routes=(SUBNET,), approved_routes=rng.choice([(), (SUBNET,)]))
            case 5 if known:
                mesh.set_primary(SUBNET, number if SUBNET in mesh.model.nodes[NodeId(number)].served_routes else None)
            case 6 if known:
                mesh.set_online(number, rng.random() < 0.5)
            case 7:
                mesh.policy.pairs ^= {frozenset((NodeId(1), NodeId(number)))}
                mesh.publish(everything=True)
            case 8 if known:
                mesh.change(number, node_key=NodePublicKey(key(rng.randrange(100, 200))))
            case _:
                mesh.tell()
                mesh.assert_current()
    mesh.tell()
    mesh.assert_current()
