"""What plugins are told of nodes."""

from __future__ import annotations

from appliance.api import PrefixTranslation
from appliance.pluginhost.snapshots import node_info
from appliance.types.ids import NodeId, StableNodeId
from appliance.types.keys import NodePublicKey
from appliance.types.netmap import Node


def test_ok__translations_are_read_from_the_services_and_nonsense_is_left_out() -> None:
    services = (
        ("peerapi4", 4711, ""),
        ("waypost-translation", 1, "192.168.1.0/24 as 10.7.1.0/24"),
        ("waypost-translation", 2, "all as nothing"),
        ("tcp", 3, "192.168.2.0/24 as 10.7.2.0/24"),
    )
    node = Node(NodeId(2), StableNodeId("n2"), "b.mesh.", NodePublicKey(bytes(32)), services=services)
    assert node_info(node, {}).translations == (PrefixTranslation("192.168.1.0/24", "10.7.1.0/24"),)
