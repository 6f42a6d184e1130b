"""A `PolicyView` of tests: everybody sees everybody but the named pairs."""

from __future__ import annotations

from typing import Any

from appliance.proto.control import messages as wire
from appliance.types.addresses import Prefix
from appliance.types.ids import NodeId
from appliance.types.netmap import FilterRule
from control.state.records import NodeRecord


class OpenPolicy:
    """`pairs` do not see each other; `rules` are each node's packet filter."""

    def __init__(self, nodes: dict[NodeId, NodeRecord] | None = None, rules: tuple[FilterRule, ...] = ()) -> None:
        self.pairs: set[frozenset[NodeId]] = set()
        self.rules = rules
        self.nodes: Any = nodes or {}

    def filter_rules(self, node_id: NodeId) -> tuple[FilterRule, ...]:
        return self.rules

    def visible_peers(self, node_id: NodeId) -> frozenset[NodeId]:
        return frozenset(other for other in self.nodes if self.are_peers(node_id, other))

    def are_peers(self, one: NodeId, other: NodeId) -> bool:
        return one != other and frozenset((one, other)) not in self.pairs

    def may_use(self, viewer: NodeId, peer: NodeId, route: Prefix) -> bool:
        return True

    def may_look_up(self, viewer: NodeId, connector: NodeId) -> bool:
        return True

    def disables_ipv4(self, node_id: NodeId) -> bool:
        return False

    def steered(self, viewer: NodeId, peer: NodeId) -> tuple[frozenset[Prefix], frozenset[Prefix]]:
        return frozenset(), frozenset()

    def ssh_policy(self, node_id: NodeId) -> wire.SshPolicy:
        return wire.SshPolicy()

    def node_attributes(self, node_id: NodeId) -> dict[str, Any]:
        return {}

    def peer_attributes(self, node_id: NodeId) -> dict[str, Any]:
        return {}

    def shown_attributes(self, viewer: NodeId, peer: NodeId) -> dict[str, Any]:
        return {}
