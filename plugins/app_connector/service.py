"""The running part: follows answers of the resolver, keeps what it learned, forgets what is old."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from appliance.api import HostHandle, LogLevel, RefreshKind
from plugins.app_connector.apps import CAPABILITY
from plugins.app_connector.connector import Connector

LOOK_S = 30.0
STORE = "learned"
STORE_S = 3600.0
"""What was only seen again is kept this often, so that a restart does not take it for old."""


class AnswerWatch:
    name = "answers"

    def __init__(self, host: HostHandle, connector: Connector) -> None:
        self._host = host
        self._connector = connector
        self._stored_at = 0.0

    async def run(self) -> None:
        self._stored_at = await self._host.now()
        stored = await self._host.store_get(STORE)
        if stored is not None and not self._connector.learned.addresses:
            self._connector.learned.load(stored)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            await self._keep()

    async def _follow(self) -> None:
        number = -1
        while True:
            found = await self._host.wait_answers(number)
            number = found.number
            if not self._connector.state.apps:
                continue
            now = (await self._host.wall_now()).timestamp()
            changed = [self._connector.observe(answer, now) for answer in found.answers]
            if any(changed):
                await self._tell("learned")

    async def _keep(self) -> None:
        """Apps of policy and settings, this site's own networks, old addresses."""
        while True:
            self._connector.changed.clear()
            self._connector.near = await self._host.attached_prefixes()
            changed = self._connector.set_apps(await self._host.capability(CAPABILITY))
            self._connector.learned.age((await self._host.wall_now()).timestamp())
            if self._connector.refresh() or changed:
                await self._tell("apps or their routes changed")
            elif self._connector.learned.addresses and await self._host.now() - self._stored_at >= STORE_S:
                await self._store()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._connector.changed.wait()

    async def _store(self) -> None:
        self._stored_at = await self._host.now()
        await self._host.store_put(STORE, self._connector.learned.dump())

    async def _tell(self, reason: str) -> None:
        await self._store()
        routes = len(self._connector.state.routes)
        await self._host.log(LogLevel.INFO, "app_routes", {"reason": reason, "routes": routes})
        await self._host.request_refresh(RefreshKind.HOSTINFO, reason)
        await self._host.request_refresh(RefreshKind.ROUTER, reason)
