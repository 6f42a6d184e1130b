"""Deltas applied one by one end in the netmap that a full map gives; hostile input raises nothing but DecodeError."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.netmap.server_key import parse_chunks
from appliance.netmap.store import NetmapStore
from appliance.proto.control import messages as wire
from appliance.types.errors import DecodeError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
IDS = st.integers(2, 6)


def node(number: int, port: int = 0, online: bool = True) -> wire.Node:
    return wire.Node(
        id=number,
        stable_id=f"n{number}",
        name=f"node{number}.net.example.",
        key=f"nodekey:{number:064x}",
        addresses=[f"100.64.0.{number}/32"],
        endpoints=[f"192.0.2.1:{port}"] if port else [],
        online=online,
        machine_authorized=True,
    )


NODES = st.builds(node, IDS, st.integers(0, 3), st.booleans())
MESSAGES = st.one_of(
    st.builds(lambda nodes: wire.MapResponse(peers_changed=nodes), st.lists(NODES, max_size=3)),
    st.builds(lambda ids: wire.MapResponse(peers_removed=ids), st.lists(IDS, max_size=3)),
    st.builds(lambda change: wire.MapResponse(online_change=change), st.dictionaries(IDS, st.booleans(), max_size=3)),
    st.builds(lambda nodes: wire.MapResponse(peers=nodes), st.lists(NODES, max_size=4, unique_by=lambda n: n.id)),
)


@settings(max_examples=150, deadline=None)
@given(messages=st.lists(MESSAGES, max_size=12))
def test_ok__diffs_describe_every_change(messages: list[wire.MapResponse]) -> None:
    store = NetmapStore()
    store.apply(wire.MapResponse(node=node(1), peers=[node(2)]), NOW)
    followed = dict(store.peers)
    for message in messages:
        diff = store.apply(message, NOW)
        for node_id, old in {**diff.previous, **diff.removed}.items():
            assert followed[node_id] == old
        for node_id in diff.removed:
            del followed[node_id]
        followed.update(diff.changed)
        assert followed == dict(store.peers)
    for peer in store.peers.values():
        assert store.peer_by_key(peer.key) is peer
        assert store.peer_by_address(peer.addresses[0].network_address) is peer
        assert store.peer_by_stable_id(peer.stable_id) is peer


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("Node", "Peers", "PeersChanged", "PeersRemoved", "PeersChangedPatch", "DERPMap", "PacketFilters", "Health")


@settings(max_examples=200, deadline=None)
@given(plain=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))
def test_fail__hostile_message(plain: dict[str, Any]) -> None:
    store = NetmapStore()
    store.apply(wire.MapResponse(node=node(1), peers=[node(2)]), NOW)
    try:
        store.apply(wire.from_plain(wire.MapResponse, plain), NOW)
    except DecodeError:
        return


@given(parts=st.lists(st.binary(min_size=1, max_size=40), max_size=4), cut=st.integers(0, 200))
def test_ok__chunks(parts: list[bytes], cut: int) -> None:
    data = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    assert parse_chunks(data) == b"".join(parts)
    if cut < len(data) - 2:
        assert parse_chunks(data[:cut]) is None


@given(data=st.binary(max_size=60))
def test_fail__hostile_chunks(data: bytes) -> None:
    try:
        parse_chunks(data)
    except DecodeError:
        return
