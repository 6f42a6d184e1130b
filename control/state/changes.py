"""What changed in the mesh: durable first, then visible in `MeshView`, then published as these frozen values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from appliance.types.ids import NodeId, UserId
    from control.state.records import NodeRecord


@dataclass(frozen=True, slots=True)
class NodeChange:
    """A node before and after; `before` None = added, `after` None = removed."""

    before: NodeRecord | None
    after: NodeRecord | None

    @property
    def node_id(self) -> NodeId:
        record = self.after or self.before
        assert record is not None
        return record.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One committed change; the view already shows it when this is published.

    nodes: records that changed.
    online: nodes that came (True) or went (False).
    routes_moved: nodes that gained or lost a primary route; viewers' AllowedIPs for them differ.
    users: users created, renamed or removed.
    viewers: nodes whose map may differ in what the fields above name, themselves included: all that saw a touched
        node before or see it now.
    refiltered: nodes whose packet filter differs.
    ssh: nodes whose SSH policy may differ.
    everything: policy, DERP map or domain changed; every node's map may differ in every part.
    """

    revision: int
    nodes: tuple[NodeChange, ...] = ()
    online: Mapping[NodeId, bool] = field(default_factory=dict)
    routes_moved: frozenset[NodeId] = frozenset()
    users: frozenset[UserId] = frozenset()
    viewers: frozenset[NodeId] = frozenset()
    refiltered: frozenset[NodeId] = frozenset()
    ssh: frozenset[NodeId] = frozenset()
    everything: bool = False

    @property
    def touched(self) -> frozenset[NodeId]:
        """Nodes that peers must look at anew."""
        return frozenset(change.node_id for change in self.nodes) | frozenset(self.online) | self.routes_moved

    def concerns(self, node_id: NodeId) -> bool:
        """Whether the map of `node_id` may differ now."""
        return self.everything or node_id in self.viewers or node_id in self.refiltered or node_id in self.ssh


class ChangeBus:
    """Calls its subscribers in the event loop's thread, in order of subscription; they must not block."""

    def __init__(self, on_error: Callable[[Change, Exception], None]) -> None:
        self._callbacks: list[Callable[[Change], None]] = []
        self._on_error = on_error

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Call `callback` for every change; returns the function that ends it."""
        self._callbacks.append(callback)

        def end() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return end

    def publish(self, change: Change) -> None:
        for callback in tuple(self._callbacks):
            try:
                callback(change)
            except Exception as error:  # one bad subscriber must not keep a change from the others
                self._on_error(change, error)
