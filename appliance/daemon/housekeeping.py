"""What is due about once a second: health that shows after a while, coalesced writes, retries, systemd's watchdog."""

from __future__ import annotations

import asyncio

from appliance.api.values import RefreshKind
from appliance.daemon.applier import ChangeApplier
from appliance.daemon.gateway import Gateway
from appliance.daemon.lifecycle import Lifecycle
from appliance.daemon.notify import ServiceManager, watchdog_interval_s
from appliance.daemon.parts import Core
from appliance.daemon.plugin_store import PluginStore

PERIOD_S = 1.0
HEALTH_CHECK_S = 60.0


class Housekeeper:
    def __init__(
        self,
        core: Core,
        gateway: Gateway,
        applier: ChangeApplier,
        store: PluginStore,
        lifecycle: Lifecycle,
        manager: ServiceManager,
    ) -> None:
        self._core = core
        self._gateway = gateway
        self._applier = applier
        self._store = store
        self._lifecycle = lifecycle
        self._timestamps = core.timestamps
        self._manager = manager
        self._watchdog_s = watchdog_interval_s()
        self._alive_at = self._checked_at = core.clock.now()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.tick()
            await asyncio.sleep(PERIOD_S)

    async def tick(self) -> None:
        now = self._core.clock.now()
        self._core.health.poll()
        self._applier.poll()
        if now - self._checked_at >= HEALTH_CHECK_S:
            self._checked_at = now
            self._applier.refresh(RefreshKind.STATUS)
        self._timestamps.note(self._core.engine.last_timestamp)
        await self._timestamps.poll()
        await self._store.poll()
        await self._lifecycle.tick(configured=self._applier.configured)
        self._manager.status(self._gateway.summary())
        if self._watchdog_s is not None and now - self._alive_at >= self._watchdog_s / 2:
            self._alive_at = now
            self._manager.alive()

    async def finish(self) -> None:
        """Write what waits; the engine has stopped sending."""
        self._timestamps.note(self._core.engine.last_timestamp)
        await self._timestamps.finish()
        await self._lifecycle.finish()
        await self._store.flush()
