"""The audit log: who changed what, when, from what to what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control.service.actor import Permission

if TYPE_CHECKING:
    from control.service.actor import Actor
    from control.service.core import Core
    from control.state.records import AuditRecord

MAX_ENTRIES = 10_000


class AuditOperations:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def list(
        self, actor: Actor, *, limit: int = 100, who: str = "", action: str = "", target: str = ""
    ) -> tuple[AuditRecord, ...]:
        """The newest entries, newest first; `action` and `target` may be beginnings, as `node.` or `user:`."""
        actor.require(Permission.READ)
        async with self._core.read() as tx:
            return tuple(await tx.audit_entries(max(1, min(limit, MAX_ENTRIES)), who=who, action=action, target=target))
