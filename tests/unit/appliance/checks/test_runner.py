from __future__ import annotations

import asyncio

from appliance.checks.runner import examine
from appliance.types.errors import StateError
from appliance.types.findings import FAILED, OK, Finding


async def good() -> Finding:
    return Finding("good", OK, "well")


async def broken() -> Finding:
    raise StateError("the disk is gone", mend="plug it in")


async def endless() -> Finding:
    await asyncio.Event().wait()
    raise AssertionError


async def test_ok__a_look_that_breaks_or_hangs_is_a_finding() -> None:
    found = await examine({"broken": broken, "endless": endless, "good": good}, 0.05)
    assert [(each.check, each.state) for each in found] == [("broken", FAILED), ("endless", FAILED), ("good", OK)]
    assert (found[0].text, found[0].mend) == ("the disk is gone", "plug it in")
    assert "no answer" in found[1].text
