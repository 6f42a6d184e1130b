"""What one transaction changes: written to the database at once, noted for the read model."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from control.state.records import AuditRecord, NodeRecord, UserRecord
from control.state.transaction import Touched

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from appliance.types.ids import NodeId, UserId
    from control.policy.model import Policy
    from control.service.actor import Actor
    from control.state.records import PolicyRecord
    from control.state.transaction import Transaction


class Draft:
    """Changes of one transaction: written to the database at once, to the read model after the commit."""

    def __init__(self, tx: Transaction, actor: Actor, now: datetime) -> None:
        self.tx = tx
        self.actor = actor
        self.now = now
        self.added: list[NodeRecord] = []
        self.patches: list[tuple[NodeId, dict[str, Any]]] = []
        self.removed: list[NodeId] = []
        self.users: dict[UserId, UserRecord | None] = {}
        self.policy: tuple[PolicyRecord, Policy] | None = None

    def touched(self) -> Touched:
        """What other processes must read anew."""
        nodes = {node.id for node in self.added} | {node_id for node_id, _ in self.patches} | set(self.removed)
        return Touched(frozenset(nodes), frozenset(self.users), self.policy is not None)

    async def add_node(self, node: NodeRecord) -> NodeRecord:
        """Store a new node; the database gives its id."""
        stored = replace(node, id=await self.tx.add_node(node))
        self.added.append(stored)
        return stored

    async def patch_node(self, node_id: NodeId, **fields: Any) -> None:
        await self.tx.change_node(node_id, fields)
        self.patches.append((node_id, fields))

    async def remove_node(self, node_id: NodeId) -> None:
        await self.tx.remove_node(node_id)
        self.removed.append(node_id)

    async def audit(
        self, action: str, target: str, before: Mapping[str, Any] | None = None, after: Mapping[str, Any] | None = None
    ) -> None:
        """An entry of the audit log; `before` and `after` hold what differs, never a secret."""
        entry = AuditRecord(self.now, self.actor.name, action, target, _json(before), _json(after))
        await self.tx.add_audit(entry)


def _json(values: Mapping[str, Any] | None) -> str:
    if values is None:
        return ""
    return json.dumps({name: _plain(value) for name, value in values.items()}, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | float | bool):
        return value
    if isinstance(value, tuple | list | set | frozenset):
        return [_plain(item) for item in value]
    return str(value)
