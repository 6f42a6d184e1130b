"""Whether the routers of subnets that several nodes serve still answer (node-os spec 2.1).

A router whose link died keeps its map stream for minutes, so each is asked on it again and again. One that is silent
loses its subnets to the next and does not take them back by itself. Primaries are asked more often: where one is silent
and other nodes do not reach it either (`control.service.takeovers`), the next round is not waited for. Nodes that serve
a subnet alone are left in peace: nobody could take their place.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from appliance.proto.control import messages as wire
from control.service.requests import NodeAwayError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from appliance.types.ids import NodeId
    from control.service.core import Core
    from control.service.presence import Presence
    from control.service.requests import NodeChannel
    from control.service.takeovers import Takeovers

PROBE_EVERY_S = 10.0
PROBE_LIMIT_S = 5.0
GLANCE_EVERY_S = 3.0
GLANCE_LIMIT_S = 2.0
AT_ONCE = 32


class RouterProbes:
    """`run` it as long as the server lives; a `round` is one question to each router that counts."""

    def __init__(
        self, core: Core, presence: Presence, channel: Callable[[], NodeChannel | None], takeovers: Takeovers
    ) -> None:
        self._core = core
        self._presence = presence
        self._channel = channel
        self._takeovers = takeovers

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(_every(PROBE_EVERY_S, self.round))
            group.create_task(_every(GLANCE_EVERY_S, self.glance))

    async def glance(self) -> None:
        """Ask the primaries that have a rival; where one is silent, ask others about it."""
        channel = self._channel()
        primaries = self._core.contested_routers() & set(self._core.primaries().values())
        here = (one for one in primaries if self._presence.since(one) is not None)
        asked = tuple(one for one in here if self._core.router_rank(one) == 2)
        if channel is None or not asked:
            return
        answers = await self._ask_all(channel, asked, GLANCE_LIMIT_S)
        async with asyncio.TaskGroup() as group:
            for node_id in (node_id for node_id, well in answers.items() if not well):
                group.create_task(self._takeovers.doubt(node_id))

    async def round(self) -> None:
        """Ask, then take all answers in at once. A round that fell into a time of reconnections says nothing."""
        channel = self._channel()
        since = {node_id: self._presence.since(node_id) for node_id in self._core.contested_routers()}
        began = {node_id: moment for node_id, moment in since.items() if moment is not None}
        if channel is None or not began:
            return
        started = self._core.clock.now()
        answers = await self._ask_all(channel, tuple(began), PROBE_LIMIT_S)
        counted = {node_id: well for node_id, well in answers.items() if self._presence.since(node_id) is not None}
        for node_id, well in counted.items():
            again = self._presence.since(node_id) != began[node_id]
            if not well and (again or started - began[node_id] < PROBE_EVERY_S):
                return
        self._core.show_health(counted)

    async def _ask_all(self, channel: NodeChannel, node_ids: tuple[NodeId, ...], limit_s: float) -> dict[NodeId, bool]:
        gate = asyncio.Semaphore(AT_ONCE)
        answers: dict[NodeId, bool] = {}

        async def ask(node_id: NodeId) -> None:
            async with gate:
                node = self._core.model.nodes.get(node_id)
                if node is None:
                    return
                try:
                    answers[node_id] = bool(await channel.ask(node, wire.PingRequest(types=""), 1, limit_s))
                except NodeAwayError:
                    return

        async with asyncio.TaskGroup() as group:
            for node_id in node_ids:
                group.create_task(ask(node_id))
        return answers


async def _every(pause_s: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(pause_s)
        await work()
