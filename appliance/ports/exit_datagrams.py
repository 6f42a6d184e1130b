"""UDP of those who use this exit, taken from the firewall and answered in the name of whom they asked; and the twin."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from appliance.types.addresses import AddrPort


class TakenDatagram(NamedTuple):
    """What `user` sent to `goal`."""

    user: AddrPort
    goal: AddrPort
    payload: bytes


class ExitDatagrams(Protocol):
    @property
    def port(self) -> int:
        """Where the firewall hands them to, on 127.0.0.1 and ::1."""
        ...

    def set_reader(self, callback: Callable[[], None] | None) -> None:
        """Called while there is something to receive; None: no more."""
        ...

    def receive(self, limit: int = 64) -> Sequence[TakenDatagram]:
        """At most so many; none when nothing waits."""
        ...

    def answer(self, source: AddrPort, user: AddrPort, payload: bytes) -> bool:
        """Send to a user as if `source`, of the same IP version, had. False: it could not leave, and is lost."""
        ...

    def close(self) -> None: ...


@dataclass
class MemoryExitDatagrams:
    """The twin: `take` plays the firewall, `answered` is what users got."""

    port: int = 40001
    answered: list[tuple[AddrPort, AddrPort, bytes]] = field(default_factory=list)
    closed: bool = False
    _waiting: deque[TakenDatagram] = field(default_factory=deque)
    _reader: Callable[[], None] | None = None

    def take(self, user: AddrPort, goal: AddrPort, payload: bytes) -> None:
        self._waiting.append(TakenDatagram(user, goal, payload))
        if self._reader is not None:
            self._reader()

    def set_reader(self, callback: Callable[[], None] | None) -> None:
        self._reader = callback
        if callback is not None and self._waiting:
            callback()

    def receive(self, limit: int = 64) -> list[TakenDatagram]:
        return [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]

    def answer(self, source: AddrPort, user: AddrPort, payload: bytes) -> bool:
        if self.closed or source.is_v6 != user.is_v6:
            return False
        self.answered.append((source, user, payload))
        return True

    def close(self) -> None:
        self.closed = True
        self._reader = None
