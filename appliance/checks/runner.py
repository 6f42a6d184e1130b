"""Runs looks one after the other. One that breaks, or does not end, is a finding too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from appliance.types.errors import ApplianceError
from appliance.types.findings import FAILED, Finding

Look = Callable[[], Awaitable[Finding]]


async def examine(looks: Mapping[str, Look], limit_s: float) -> list[Finding]:
    """All findings, in the order of the looks. `limit_s`: seconds that each may take."""
    return [await _guarded(name, look, limit_s) for name, look in looks.items()]


async def _guarded(name: str, look: Look, limit_s: float) -> Finding:
    try:
        async with asyncio.timeout(limit_s):
            return await look()
    except ApplianceError as error:
        return Finding(name, FAILED, error.text, error.mend)
    except TimeoutError:
        return Finding(name, FAILED, "no answer in time", "look at the network and the log")
