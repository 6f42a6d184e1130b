from dataclasses import replace

import pytest

from appliance.magicsock.peers import DiscoSender, PeerTable
from appliance.magicsock.timing import MAX_SEEN_PINGS
from appliance.types.addresses import AddrPort
from appliance.types.netmap import NetmapDiff


@pytest.fixture
def table(rig):
    table = PeerTable(rig.context)
    node = rig.node()
    table.apply(NetmapDiff(full=True, changed={node.id: node}), rig.now)
    return table


def test_ok__found_by_both_keys(rig, table):
    node = rig.node()
    peer = table.get(node.key)
    assert table.disco_sender(node.disco_key).nodes == {node.key: peer}
    assert [p.node for p in table] == [node]


def test_ok__new_disco_key_replaces_the_old(rig, table):
    old = rig.node()
    new = replace(old, disco_key=rig.node(3).disco_key)
    table.apply(NetmapDiff(changed={old.id: new}, previous={old.id: old}), rig.now)
    assert table.disco_sender(old.disco_key) is None
    assert table.disco_sender(new.disco_key) is not None
    assert len(table) == 1


def test_ok__new_node_key_is_a_new_peer(rig, table):
    old = rig.node()
    new = replace(old, key=rig.node(5).key)
    touched = table.apply(NetmapDiff(changed={old.id: new}, previous={old.id: old}), rig.now)
    assert touched == [old.key, new.key]
    assert table.get(old.key) is None
    assert table.get(new.key) is not None


def test_ok__one_disco_key_of_two_nodes(rig, table):
    twin = replace(rig.node(3), disco_key=rig.node().disco_key)
    table.apply(NetmapDiff(changed={twin.id: twin}), rig.now)
    sender = table.disco_sender(twin.disco_key)
    assert len(sender.nodes) == 2
    table.apply(NetmapDiff(removed={twin.id: twin}), rig.now)
    assert list(sender.nodes) == [rig.node().key]


def test_ok__removed_peer_leaves_nothing(rig, table):
    node = rig.node()
    rig.ours.shared(node.disco_key)
    assert not rig.context.acceptable(AddrPort("100.64.0.2", 1))
    table.apply(NetmapDiff(removed={node.id: node}), rig.now)
    assert len(table) == 0
    assert table.disco_sender(node.disco_key) is None
    assert len(rig.ours) == 0
    assert rig.context.acceptable(AddrPort("100.64.0.2", 1))


def test_fail__same_ping_twice_is_known_and_memory_is_bounded():
    sender = DiscoSender()
    assert sender.first_sight(b"a" * 12)
    assert not sender.first_sight(b"a" * 12)
    for n in range(MAX_SEEN_PINGS + 1):
        sender.first_sight(n.to_bytes(12, "big"))
    assert len(sender._seen) == MAX_SEEN_PINGS
