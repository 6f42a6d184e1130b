"""The saved netmap: what goes in comes out, and what must not be trusted is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from appliance.netmap.saved import StoredNetmap, pack, restore
from appliance.netmap.store import NetmapStore
from appliance.ports.store import MemoryStore
from appliance.proto.control import messages as wire
from appliance.state.document import Document
from appliance.types.errors import DecodeError
from appliance.types.ids import NodeId
from appliance.types.keys import DiscoPrivateKey, NodePublicKey
from tests.unit.appliance.netmap.conftest import node

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EXPIRY = "2026-02-01T00:00:00Z"


def stored(store: NetmapStore, at: datetime = NOW) -> StoredNetmap:
    return StoredNetmap(
        control_url="https://control.example",
        node_key=NodePublicKey.parse(f"nodekey:{1:064x}"),
        disco_key=DiscoPrivateKey(b"d" * 32),
        saved_at=at,
        netmap=pack(wire.encode(store.snapshot())),
    )


@pytest.fixture
def known(full_map: wire.MapResponse) -> NetmapStore:
    store = NetmapStore()
    store.apply(full_map, NOW)
    store.apply(wire.MapResponse(peers_changed=[node(4, key_expiry=EXPIRY)], peers_removed=[2]), NOW)
    return store


def test_ok__all_comes_back_but_who_is_online(known: NetmapStore) -> None:
    back = restore(stored(known), NOW)
    assert set(back.peers) == {NodeId(3), NodeId(4)}
    assert {peer.online for peer in back.peers.values()} == {None}
    for name in ("derp_map", "dns", "filter_rules", "domain", "self_node"):
        assert getattr(back, name) == getattr(known, name)
    assert dict(back.users) == dict(known.users)
    assert back.peers[NodeId(3)].allowed_ips == known.peers[NodeId(3)].allowed_ips


def test_ok__it_survives_the_document(known: NetmapStore) -> None:
    disk = MemoryStore()
    Document(disk, "netmap.json", StoredNetmap).save(stored(known))
    assert Document(disk, "netmap.json", StoredNetmap).load() == stored(known)


def test_ok__peer_that_expired_meanwhile_is_cut_off(known: NetmapStore) -> None:
    back = restore(stored(known), NOW + timedelta(days=40))
    assert back.peers[NodeId(4)].expired
    assert not back.peers[NodeId(3)].expired


def test_ok__peer_expires_by_the_saved_time_when_the_clock_is_a_year_behind(known: NetmapStore) -> None:
    back = restore(stored(known, NOW + timedelta(days=40)), NOW - timedelta(days=365))
    assert back.peers[NodeId(4)].expired


def test_ok__first_full_map_replaces_it(known: NetmapStore) -> None:
    back = restore(stored(known), NOW)
    back.begin_stream()
    diff = back.apply(wire.MapResponse(node=node(1), peers=[node(3), node(9)]), NOW)
    assert diff.full
    assert set(diff.changed) == {NodeId(3), NodeId(9)}
    assert set(diff.removed) == {NodeId(4)}
    assert NodeId(3) in diff.previous


@pytest.mark.parametrize("data", [b"", b"x" * 40, pack(b"{"), pack(b"{}")])
def test_fail__unreadable(known: NetmapStore, data: bytes) -> None:
    with pytest.raises(DecodeError):
        restore(msgspec.structs.replace(stored(known), netmap=data), NOW)


def test_fail__another_nodes_map(known: NetmapStore) -> None:
    other = NodePublicKey.parse(f"nodekey:{7:064x}")
    with pytest.raises(DecodeError, match="another node"):
        restore(msgspec.structs.replace(stored(known), node_key=other), NOW)
