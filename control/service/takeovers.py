"""Routers that may be gone, judged by other nodes, so that a substitute takes over in seconds (node-os spec 2.1).

The grace time of presence suits people; a subnet need not wait for it. When the last map stream of a router with a
substitute ends, connected nodes that see it are asked to ping it: it keeps its subnets while one of them reaches it,
and loses them when those who answer do not. The same is asked about a primary that leaves a probe unanswered. Nothing
moves because of this to a router that came a moment ago, and nothing moves back by itself, so that routers that come
and go do not drag subnets about.
"""

from __future__ import annotations

import asyncio
import heapq
from enum import Enum
from typing import TYPE_CHECKING

import structlog

from appliance.proto.control import messages as wire
from appliance.types.errors import DecodeError
from control.service.requests import NodeAwayError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from appliance.types.ids import NodeId
    from control.service.core import Core
    from control.service.presence import Presence
    from control.service.requests import NodeChannel
    from control.state.records import NodeRecord

ANSWER_S = 1.0
"""A router that answers no ping for so long carries no traffic either."""
AGAIN_S = 0.5
"""Two questions are over within 3 s: TCP repeats then, and again only 6 s after the loss."""
BLIND_S = 3.0
"""Without anybody who could be asked a router gets this long to come back."""
STEADY_S = 5.0
"""A substitute must have been connected for so long."""
PINGS = ("disco", "ICMP")
"""Of the daemon, and of the host through the tunnel: where the kernel carries the tunnel it outlives the daemon."""
WITNESSES = 3
"""So many of the rivals, and so many others."""
AT_ONCE = 8
"""Routers that are asked about at the same time."""

_log = structlog.get_logger(__name__)


class Verdict(Enum):
    """What other nodes say of a router. `SILENT`: they do not answer either; `NOBODY`: there is none to ask."""

    LIVES = "lives"
    GONE = "gone"
    SILENT = "silent"
    NOBODY = "nobody"


class Takeovers:
    """`run` it as long as the server lives. Nodes connected to other processes cannot be asked."""

    def __init__(self, core: Core, presence: Presence, channel: Callable[[], NodeChannel | None]) -> None:
        self._core = core
        self._presence = presence
        self._channel = channel
        self._followed: set[NodeId] = set()
        self._lost: asyncio.Queue[NodeId] = asyncio.Queue()
        self._gate = asyncio.Semaphore(AT_ONCE)
        self.sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
        """Another one goes with another clock than the machine's."""
        presence.lost = self.lost

    def lost(self, node_id: NodeId) -> None:
        """The last map stream of the node ended here."""
        if node_id not in self._followed and self._core.rivals(node_id):
            self._followed.add(node_id)
            self._lost.put_nowait(node_id)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._follow(await self._lost.get()))

    async def _follow(self, node_id: NodeId) -> None:
        """Until the router is back, its grace time is over, or it lost its subnets."""
        began = self._core.clock.now()
        try:
            while self._is_away(node_id):
                if await self.look(node_id, self._core.clock.now() - began):
                    return
                await self.sleep(AGAIN_S)
        finally:
            self._followed.discard(node_id)

    def _is_away(self, node_id: NodeId) -> bool:
        """Whether it has no map stream anywhere, and its grace time runs."""
        elsewhere = self._core.processes is not None and self._core.processes.serve(node_id)
        return not elsewhere and self._presence.since(node_id) is None and self._presence.holds(node_id)

    async def look(self, node_id: NodeId, away_s: float) -> bool:
        """Ask about a router without a map stream for `away_s`; True: its subnets went to a substitute."""
        if not self._has_substitute(node_id):
            return False
        verdict = await self.ask(node_id)
        gone = verdict is Verdict.GONE or (verdict is Verdict.NOBODY and away_s >= BLIND_S)
        if not gone or not self._is_away(node_id) or not self._has_substitute(node_id):
            return False
        self._core.show_health({node_id: False})
        return True

    async def doubt(self, node_id: NodeId) -> bool:
        """Ask about a connected router that left a probe unanswered; True: its subnets went to a substitute."""
        since = self._presence.since(node_id)
        if since is None or not self._has_substitute(node_id) or await self.ask(node_id) is not Verdict.GONE:
            return False
        if self._presence.since(node_id) != since or not self._has_substitute(node_id):
            return False
        self._core.show_health({node_id: False})
        return True

    def _has_substitute(self, node_id: NodeId) -> bool:
        return any(self._core.router_rank(one) == 2 and self._is_steady(one) for one in self._core.rivals(node_id))

    def _is_steady(self, node_id: NodeId) -> bool:
        since = self._presence.since(node_id)
        if since is not None:
            return self._core.clock.now() - since >= STEADY_S
        return self._core.processes is not None and self._core.processes.serve(node_id)

    async def ask(self, node_id: NodeId) -> Verdict:
        """Let some nodes that see the router ping it.

        The word of its rivals counts where nobody else says anything: they may reach it by the network that all of
        them serve, when nobody does by its uplink.
        """
        channel, node = self._channel(), self._core.model.nodes.get(node_id)
        rivals = self._core.rivals(node_id)
        witnesses = [] if channel is None else self._witnesses(node_id, rivals)
        if channel is None or node is None or not witnesses:
            return Verdict.NOBODY
        async with self._gate, asyncio.TaskGroup() as group:
            asked = {witness.id: group.create_task(_reaches(channel, witness, node)) for witness in witnesses}
        words = {witness: word for witness, each in asked.items() if (word := each.result()) is not None}
        counted = [word for witness, word in words.items() if witness not in rivals] or list(words.values())
        if not counted:
            return Verdict.SILENT
        verdict = Verdict.LIVES if any(counted) else Verdict.GONE
        _log.info("other nodes were asked about a router", node=node_id, asked=len(counted), verdict=verdict.value)
        return verdict

    def _witnesses(self, node_id: NodeId, rivals: set[NodeId]) -> list[NodeRecord]:
        """Nodes with a map stream here whose maps show the router: a few of its rivals and a few others."""
        model = self._core.model
        seeing = {one for one in model.visible_peers(node_id) if self._presence.since(one) is not None}
        chosen = heapq.nsmallest(WITNESSES, seeing - rivals) + heapq.nsmallest(WITNESSES, seeing & rivals)
        return [model.nodes[one] for one in chosen]


async def _reaches(channel: NodeChannel, witness: NodeRecord, target: NodeRecord) -> bool | None:
    """Whether the witness reaches the target; None: it says nothing at all, so that its silence proves nothing."""
    async with asyncio.TaskGroup() as group:
        alive = group.create_task(_answers(channel, witness, wire.PingRequest(types="")))
        pings = [
            group.create_task(_answers(channel, witness, wire.PingRequest(types=kind, ip=str(target.ipv4))))
            for kind in PINGS
        ]
    if any(_is_success(answer) for ping in pings for answer in ping.result()):
        return True
    return False if alive.result() else None


async def _answers(channel: NodeChannel, node: NodeRecord, request: wire.PingRequest) -> list[bytes]:
    try:
        return await channel.ask(node, request, 1, ANSWER_S)
    except NodeAwayError:
        return []


def _is_success(answer: bytes) -> bool:
    try:
        return not wire.decode(wire.PingResponse, answer).err
    except DecodeError:
        return False
