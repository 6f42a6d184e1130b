"""The latest frame and those who watch it. Pure but for its futures: no socket, no clock.

A watcher is told that there is something newer, never given a queue: one that reads slowly skips frames.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from plugins.status_page.render import Frame

MAX_WATCHERS = 16


class LiveFrame:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self.frame: Frame = {}
        self.watchers = 0
        self._number = 0
        self._published = asyncio.Event()
        self._watched = asyncio.Event()

    def publish(self, frame: Frame) -> None:
        """Wake the watchers where something differs."""
        if frame != self.frame:
            self.frame = frame
            self._number += 1
            self._published.set()
            self._published = asyncio.Event()

    async def newer(self, number: int) -> int:
        """Wait for a frame later than `number` (0: any) and give its number."""
        while self._number <= number:
            await self._published.wait()
        return self._number

    async def watched(self) -> None:
        """Wait until somebody watches."""
        await self._watched.wait()

    @property
    def is_full(self) -> bool:
        return self.watchers >= MAX_WATCHERS

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count a watcher for the time of the block."""
        self.watchers += 1
        self._watched.set()
        try:
            yield
        finally:
            self.watchers -= 1
            if not self.watchers:
                self._watched.clear()


def changed_sections(old: Frame, new: Frame) -> Frame:
    """Sections of `new` that `old` does not have like that."""
    return {name: html for name, html in new.items() if old.get(name) != html}
