"""Following the gateway's changes: the numbered feed behind `HostHandle.wait_change`, and the iterator over it.

The feed keeps one number per kind, never a queue: a reader that is slow gets many changes as one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from appliance.api.numbered import Numbered
from appliance.api.values import StatusChange

PAUSE_S = 0.25
"""Least time between two items of `follow`."""


class ChangeFeed(Numbered):
    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[str, int] = {}

    def note(self, kind: str) -> None:
        self._kinds[kind] = self._count()

    async def wait(self, after: int) -> StatusChange:
        """The next change after number `after`; at once where there is one. A number from the future counts as 0."""
        if after > self._number:
            after = 0
        await self._later_than(after)
        kinds = tuple(sorted(kind for kind, number in self._kinds.items() if number > max(after, 0)))
        return StatusChange(self._number, kinds)


class Followed(Protocol):
    """The part of a handle that `follow` needs."""

    async def wait_change(self, after: int) -> StatusChange: ...

    async def sleep(self, seconds: float) -> None: ...


async def follow(host: Followed, pause_s: float = PAUSE_S) -> AsyncIterator[StatusChange]:
    """One item at once, then one after each change, at most one every `pause_s` seconds. Never ends by itself."""
    number = -1
    while True:
        change = await host.wait_change(number)
        number = change.number
        yield change
        await host.sleep(pause_s)
