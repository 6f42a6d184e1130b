from __future__ import annotations

import asyncio

from appliance.api.testing import FakeHost, settle
from plugins.subnet_router.nudge import Nudge


async def test_ok__a_pause_ends_by_itself_or_by_a_nudge(fake_host: FakeHost) -> None:
    nudge = Nudge(fake_host.sleep)
    resting = asyncio.ensure_future(nudge.rest(10.0))
    await fake_host.time.pass_time(9.9)
    assert not resting.done()
    await fake_host.time.pass_time(0.1)
    assert resting.done()
    resting = asyncio.ensure_future(nudge.rest(10.0))
    await settle()
    nudge.give()
    await settle()
    assert resting.done()


async def test_ok__a_nudge_counts_for_one_pause(fake_host: FakeHost) -> None:
    nudge = Nudge(fake_host.sleep)
    nudge.give()
    await nudge.rest(10.0)
    resting = asyncio.ensure_future(nudge.rest(10.0))
    await fake_host.time.pass_time(9.9)
    assert not resting.done()
    await fake_host.time.pass_time(0.1)
    await resting
