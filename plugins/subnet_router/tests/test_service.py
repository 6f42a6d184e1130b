from __future__ import annotations

import asyncio

from appliance.api import AttachedPrefix, RefreshKind
from appliance.api.testing import FakeHost
from plugins.subnet_router.service import INTERVAL_S, LanWatch


async def test_ok__new_network_asks_for_new_routes() -> None:
    host = FakeHost("subnet_router")
    task = asyncio.ensure_future(LanWatch(host).run())
    await host.time.pass_time(3 * INTERVAL_S)
    assert host.refreshes == []
    host.attached = (AttachedPrefix("10.0.0.0/24", "eth2"),)
    await host.time.pass_time(3 * INTERVAL_S)
    assert [kind for kind, _ in host.refreshes] == [RefreshKind.ROUTER]
    task.cancel()
