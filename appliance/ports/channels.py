"""A channel between two processes of this host: whole messages both ways, and descriptors with them.

`memory_channels` is the twin.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Sequence
from typing import Protocol


class ChannelClosed(Exception):
    """The other side is gone, or this side closed."""


class Channel(Protocol):
    """Belongs to one event loop."""

    def post(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send in order, without waiting. The channel closes the descriptors when they are sent.

        Raises `ChannelClosed`, also when the other side has not read for so long that too much waits.
        """
        ...

    async def receive(self) -> tuple[bytes, list[int]]:
        """The next message; its descriptors belong to the caller. Raises `ChannelClosed` at the end."""
        ...

    def close(self) -> None:
        """Idempotent; whoever waits in `receive` gets `ChannelClosed`."""
        ...


class MemoryChannel:
    """One end of a pair. `hold` True keeps what is posted from arriving, like a peer that does not read."""

    def __init__(self) -> None:
        self.other: MemoryChannel = self
        self.hold = False
        self.closed = False
        self._arrived: deque[tuple[bytes, list[int]]] = deque()
        self._wake = asyncio.Event()

    def post(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        if self.closed or self.other.closed:
            raise ChannelClosed
        if not self.hold:
            self.other.arrive(data, [os.dup(descriptor) for descriptor in descriptors])
        for descriptor in descriptors:
            os.close(descriptor)

    def arrive(self, data: bytes, descriptors: list[int]) -> None:
        self._arrived.append((data, descriptors))
        self._wake.set()

    async def receive(self) -> tuple[bytes, list[int]]:
        while not self._arrived:
            if self.closed or self.other.closed:
                raise ChannelClosed
            self._wake.clear()
            await self._wake.wait()
        return self._arrived.popleft()

    def close(self) -> None:
        self.closed = True
        self._wake.set()
        self.other.wake()

    def wake(self) -> None:
        self._wake.set()


def memory_channels() -> tuple[MemoryChannel, MemoryChannel]:
    """Two ends of one channel."""
    first, second = MemoryChannel(), MemoryChannel()
    first.other, second.other = second, first
    return first, second
