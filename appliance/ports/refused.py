"""Packets that the packet filter refused: the host shows the first bytes of them, some at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

REFUSED_GROUP = 41641
"""Number under which the filter shows refused packets (nflog group)."""


class RefusedPort(Protocol):
    """All calls are quick and never block."""

    def set_reader(self, callback: Callable[[], None] | None) -> None: ...

    def receive(self, limit: int = 64) -> Sequence[bytes]:
        """IP packets, cut off after their headers."""
        ...

    def close(self) -> None: ...


@dataclass
class MemoryRefusedPort:
    """The twin of `RefusedPort`."""

    closed: bool = False
    _waiting: list[bytes] = field(default_factory=list)
    _reader: Callable[[], None] | None = None

    def set_reader(self, callback: Callable[[], None] | None) -> None:
        self._reader = callback

    def refuse(self, packet: bytes) -> None:
        """The filter drops a packet."""
        self._waiting.append(packet)
        if self._reader is not None:
            self._reader()

    def receive(self, limit: int = 64) -> Sequence[bytes]:
        taken, self._waiting = self._waiting[:limit], self._waiting[limit:]
        return taken

    def close(self) -> None:
        self.closed = True
