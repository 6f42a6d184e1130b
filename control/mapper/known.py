"""Which peers a viewer knows: a set that viewers of one kind share, and what differs from it for this one.

A thousand viewers that see each other would otherwise hold a thousand sets of a thousand ids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from appliance.types.ids import NodeId

MAX_SHARED = 256
MAX_DIFFERENCES = 128


class SharedSets:
    """The sets that are in use, each held once. It forgets now and then; who holds a forgotten one keeps it."""

    def __init__(self) -> None:
        self._sets: dict[frozenset[NodeId], frozenset[NodeId]] = {}

    def of(self, wanted: frozenset[NodeId]) -> frozenset[NodeId]:
        """An equal set, the same one for all."""
        if len(self._sets) >= MAX_SHARED and wanted not in self._sets:
            self._sets.clear()
        return self._sets.setdefault(wanted, wanted)


class KnownPeers:
    """Ids of the peers that a viewer was told of. A step costs what it names, not what is known."""

    def __init__(self, viewer: NodeId, shared: SharedSets) -> None:
        self._viewer = viewer
        self._shared = shared
        self._base: frozenset[NodeId] = frozenset()
        self._more: set[NodeId] = set()
        self._less: set[NodeId] = set()

    def __contains__(self, node_id: NodeId) -> bool:
        return node_id in self._more or (node_id in self._base and node_id not in self._less)

    def replace(self, peers: AbstractSet[NodeId]) -> None:
        """Just these from now on. Those that see each other share the set of all of them, the viewer included."""
        self._base = self._shared.of(frozenset(peers) | {self._viewer})
        self._more = set()
        self._less = {self._viewer}

    def change(self, added: AbstractSet[NodeId], removed: AbstractSet[NodeId]) -> None:
        """What was told: peers come and go."""
        for node_id in removed:
            self._more.discard(node_id)
            if node_id in self._base:
                self._less.add(node_id)
        for node_id in added:
            self._less.discard(node_id)
            if node_id not in self._base:
                self._more.add(node_id)
        if len(self._more) + len(self._less) > MAX_DIFFERENCES:
            self.replace(self.all())

    def all(self) -> frozenset[NodeId]:
        return (self._base - self._less) | self._more
