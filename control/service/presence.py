"""Who is online: counted map streams and a grace time (control-protocol spec 18), and what silence leads to."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from control.service.actor import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable

    from appliance.types.ids import NodeId
    from control.service.core import Core

_EXPIRY_CHECK_S = 5.0
_RESTART_LIMIT = timedelta(seconds=60)
_COMEBACK_S = 45.0
"""The longest pause between a client's attempts (section 18)."""


class Presence:
    """Sessions of nodes, driven by `sweep`."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._sessions: dict[NodeId, int] = {}
        self._since: dict[NodeId, float] = {}
        self._leaving: dict[NodeId, float] = {}
        self._idle_since: dict[NodeId, float] = {}
        self._expected_until = 0.0
        self._last_flush = core.clock.now()
        self._last_expiry_check = core.clock.now()
        self._expiry_checked = core.clock.wall_now()
        self.lost: Callable[[NodeId], None] = lambda _: None
        """Told when the last map stream of a node ends."""
        core.is_served_here = self.holds

    def holds(self, node_id: NodeId) -> bool:
        """Whether a map stream of the node is open here, or closed for less than the grace time."""
        return node_id in self._sessions or node_id in self._leaving

    def since(self, node_id: NodeId) -> float | None:
        """When the newest of the node's open map streams began here, monotonic seconds; None = there is none."""
        return self._since.get(node_id)

    def resume(self) -> None:
        """After a restart: who was here a moment ago counts as online until it had time to come back.

        Otherwise the first node back would see all others offline, and subnets without their routers.
        """
        back = self._lately_here()
        self._leaving.update(dict.fromkeys(back, self._core.clock.now() + _COMEBACK_S))
        self._core.show_back(back)

    def expect_routers(self) -> None:
        """The same where other processes may serve nodes, who know it better: only subnets wait for their routers."""
        self._core.expected = frozenset(self._lately_here()) & frozenset(self._core.primaries().values())
        self._expected_until = self._core.clock.now() + _COMEBACK_S

    def _lately_here(self) -> list[NodeId]:
        wall_now = self._core.clock.wall_now()
        return [
            node.id
            for node in self._core.model.nodes.values()
            if node.last_seen is not None and wall_now - node.last_seen <= _RESTART_LIMIT
        ]

    def _end_expectation(self, now: float) -> None:
        if self._core.expected and now >= self._expected_until:
            expected, self._core.expected = self._core.expected, frozenset()
            self._core.reelect(expected)

    def started(self, node_id: NodeId) -> None:
        if node_id not in self._core.model.nodes:
            return
        self._sessions[node_id] = self._sessions.get(node_id, 0) + 1
        self._since[node_id] = self._core.clock.now()
        self._leaving.pop(node_id, None)
        self._core.show_health({node_id: True})
        self._idle_since.pop(node_id, None)
        self._core.touch(node_id, publish=False, last_seen=self._core.clock.wall_now())
        self._core.show_online(node_id, True)
        if self._core.processes is not None:
            self._core.processes.announce(node_id, True)

    def ended(self, node_id: NodeId) -> None:
        left = self._sessions.get(node_id, 0) - 1
        if left > 0:
            self._sessions[node_id] = left
            return
        self._since.pop(node_id, None)
        if self._sessions.pop(node_id, None) is not None and node_id in self._core.model.nodes:
            self._leaving[node_id] = self._core.clock.now() + self._core.settings.online_grace_s
            self._core.touch(node_id, publish=False, last_seen=self._core.clock.wall_now())
            self.lost(node_id)

    async def sweep(self) -> None:
        now = self._core.clock.now()
        if self._core.processes is not None:
            self._core.processes.tick(now)
        self._end_grace(now)
        self._end_expectation(now)
        self._note_expired(now)
        await self._collect_ephemeral(now)
        if now - self._last_flush >= self._core.settings.flush_interval_s:
            self._last_flush = now
            await self._core.flush()

    def _end_grace(self, now: float) -> None:
        for node_id in [node_id for node_id, due in self._leaving.items() if due <= now]:
            del self._leaving[node_id]
            if node_id in self._core.model.nodes:
                self._core.touch(node_id, publish=False, last_seen=self._core.clock.wall_now())
                self._go(node_id)

    def _go(self, node_id: NodeId) -> None:
        processes = self._core.processes
        if processes is not None:
            processes.announce(node_id, False)
        if processes is None or not processes.serve(node_id):
            self._core.show_online(node_id, False)

    def _note_expired(self, now: float) -> None:
        """Tell viewers of keys that ran out since the last look."""
        if now - self._last_expiry_check < _EXPIRY_CHECK_S:
            return
        since, until = self._expiry_checked, self._core.clock.wall_now()
        self._last_expiry_check, self._expiry_checked = now, until
        expired = [
            node.id
            for node in self._core.model.nodes.values()
            if node.key_expiry is not None and since < node.key_expiry <= until
        ]
        self._core.show_expired(expired)

    async def _collect_ephemeral(self, now: float) -> None:
        """Delete ephemeral nodes that have been silent for the time-out, counted from their last stream, their
        registration or the server's start."""
        limit = self._core.settings.ephemeral_timeout_s
        due: list[NodeId] = []
        for node_id in self._idle_since.keys() - self._core.model.nodes.keys():
            del self._idle_since[node_id]
        for node in self._core.model.nodes.values():
            if not node.ephemeral or self._is_served(node.id):
                self._idle_since.pop(node.id, None)
                continue
            if now - self._idle_since.setdefault(node.id, now) >= limit:
                due.append(node.id)
        for node_id in due:
            await self._delete_ephemeral(node_id)

    def _is_served(self, node_id: NodeId) -> bool:
        processes = self._core.processes
        return node_id in self._sessions or (processes is not None and processes.serve(node_id))

    async def _delete_ephemeral(self, node_id: NodeId) -> None:
        async with self._core.change(SYSTEM) as draft:
            node = self._core.model.nodes.get(node_id)
            if node is None or self._is_served(node_id):
                return
            await draft.remove_node(node_id)
            await draft.audit("node.collect", f"node:{node_id}", {"name": node.given_name})
