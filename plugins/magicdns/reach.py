"""At which address an upstream is reached: the one of the settings, else those that its name has, one after the other.

A network may have IPv4 or IPv6 alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from plugins.magicdns.upstream import Upstream

PATIENCE_S = 2.0
"""How long an address may be silent before the next one is tried."""

Reached = TypeVar("Reached")
Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""Addresses of an upstream that is known by name only, at least one."""


async def reach(upstream: Upstream, resolve: Resolve, connect: Callable[[str], Awaitable[Reached]]) -> Reached:
    """What `connect` makes of the first address that can be had. Raises `UpstreamError` and the last one's OSError."""
    *others, last = (upstream.address,) if upstream.address else await resolve(upstream.server_name)
    for address in others:
        with suppress(OSError):
            async with asyncio.timeout(PATIENCE_S):
                return await connect(address)
    return await connect(last)
