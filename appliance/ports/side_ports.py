"""UDP sockets besides the WireGuard port: each has a mapping of its own in the NAT (magicsock-disco spec 4.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from appliance.types.addresses import AddrPort

SideReceiver = Callable[[int, AddrPort, bytes], None]
"""(number of the socket, source, datagram)."""


@dataclass(frozen=True, slots=True)
class SideSocket:
    """Its number (not 0, never used twice) and local port."""

    number: int
    port: int


class SidePorts(Protocol):
    """IPv4 only. All calls return at once."""

    def set_receiver(self, receive: SideReceiver) -> None: ...

    def open(self, count: int) -> Sequence[SideSocket]:
        """So many more, or fewer when the system has no more."""
        ...

    def send(self, number: int, to: AddrPort, data: bytes) -> None:
        """Raises OSError when the kernel refuses; nothing happens when the socket is closed."""
        ...

    def close(self, numbers: Sequence[int]) -> None: ...


class NoSidePorts:
    """Where there are none to be had."""

    def set_receiver(self, receive: SideReceiver) -> None:
        """Nothing will come."""

    def open(self, count: int) -> Sequence[SideSocket]:
        return ()

    def send(self, number: int, to: AddrPort, data: bytes) -> None:
        """No socket has that number."""

    def close(self, numbers: Sequence[int]) -> None:
        """None is open."""


class MemorySidePorts:
    """The twin: keeps what is sent, gives what a test hands it. `refusal`: what the kernel says to sends."""

    def __init__(self, limit: int = 1024) -> None:
        self.opened: dict[int, SideSocket] = {}
        self.sent: list[tuple[int, AddrPort, bytes]] = []
        self.refusal: OSError | None = None
        self._limit = limit
        self._next = 1
        self._receive: SideReceiver | None = None

    def set_receiver(self, receive: SideReceiver) -> None:
        self._receive = receive

    def open(self, count: int) -> Sequence[SideSocket]:
        made = [SideSocket(self._next + i, 50000 + self._next + i) for i in range(count)]
        made = made[: max(0, self._limit - len(self.opened))]
        self._next += len(made)
        self.opened.update((socket.number, socket) for socket in made)
        return made

    def send(self, number: int, to: AddrPort, data: bytes) -> None:
        if self.refusal is not None:
            raise self.refusal
        if number in self.opened:
            self.sent.append((number, to, data))

    def close(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self.opened.pop(number, None)

    def deliver(self, number: int, source: AddrPort, data: bytes) -> None:
        """A datagram comes to the socket, if it is open."""
        if self._receive is not None and number in self.opened:
            self._receive(number, source, data)
