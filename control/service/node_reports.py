"""What nodes report of themselves: health of their parts and audit entries. Bounded, never trusted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import structlog

from control.service.actor import node_actor
from control.service.errors import ServiceError

if TYPE_CHECKING:
    from control.service.core import Core
    from control.state.records import NodeRecord

log = structlog.get_logger("control.reports")

MAX_TEXT = 1000
MAX_SUBSYSTEM = 64
AUDIT_ACTIONS = frozenset({"DISCONNECT_NODE"})


class NodeReports:
    """`counters` shows how many reports came."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.counters: Counter[str] = Counter()

    def health(self, node: NodeRecord, subsystem: str, error: str) -> None:
        """A part of the node is unwell; an empty error: well again."""
        self.counters["health_reports"] += 1
        log.info(
            "node reports health", id=node.id, part=_shown(subsystem, MAX_SUBSYSTEM), error=_shown(error, MAX_TEXT)
        )

    async def audit(self, node: NodeRecord, action: str, details: str) -> None:
        """An entry by the node about itself. Raises `ServiceError` for actions that are not its to report."""
        if action not in AUDIT_ACTIONS:
            raise ServiceError("this action is not one that nodes report")
        self.counters["audit_reports"] += 1
        async with self._core.change(node_actor(node)) as draft:
            after = {"details": _shown(details, MAX_TEXT)}
            await draft.audit(f"node.{action.lower().replace('_', '-')}", f"node:{node.id}", None, after)


def _shown(text: str, limit: int) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:limit])
