"""Which router serves a subnet (node-os spec 2.1): pure election, and the index of who offers what."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from collections.abc import Set as AbstractSet

    from appliance.types.addresses import Prefix
    from appliance.types.ids import NodeId
    from control.state.records import NodeRecord


def elect(candidates: AbstractSet[NodeId], current: NodeId | None, rank: Callable[[NodeId], int]) -> NodeId | None:
    """The primary: the current one while none is better (no fail-back), else the lowest id of the best.

    `rank`: 2 = well, 1 = connected and silent, 0 = away. With everybody away the current one stays if it is still a
    candidate: its viewers keep their route.
    """
    best = max((rank(node_id) for node_id in candidates), default=0)
    if current is not None and current in candidates and (best == 0 or rank(current) == best):
        return current
    return min((node_id for node_id in candidates if rank(node_id) == best), default=None) if best else None


class Advertisers:
    """Which nodes serve which subnet, kept up node by node."""

    def __init__(self) -> None:
        self._nodes: dict[Prefix, set[NodeId]] = {}

    def of(self, route: Prefix) -> AbstractSet[NodeId]:
        return self._nodes.get(route, frozenset())

    def routes(self) -> tuple[Prefix, ...]:
        """All subnets that somebody serves."""
        return tuple(self._nodes)

    def contested(self) -> set[NodeId]:
        """Nodes that serve a subnet which another one serves too."""
        return {node_id for nodes in self._nodes.values() if len(nodes) > 1 for node_id in nodes}

    def change(self, before: NodeRecord | None, after: NodeRecord | None) -> set[Prefix]:
        """Take a node's change in; returns the subnets whose candidates differ."""
        was = set(before.subnet_routes) if before is not None else set()
        now = set(after.subnet_routes) if after is not None else set()
        for route in was - now:
            assert before is not None
            self._leave(route, before.id)
        for route in now - was:
            assert after is not None
            self._nodes.setdefault(route, set()).add(after.id)
        return was ^ now

    def _leave(self, route: Prefix, node_id: NodeId) -> None:
        nodes = self._nodes[route]
        nodes.discard(node_id)
        if not nodes:
            del self._nodes[route]

    def elect_all(
        self,
        routes: Iterable[Prefix],
        current: Callable[[Prefix], NodeId | None],
        rank: Callable[[NodeId], int],
    ) -> dict[Prefix, NodeId | None]:
        return {route: elect(self.of(route), current(route), rank) for route in routes}
