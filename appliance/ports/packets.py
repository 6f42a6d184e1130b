"""Batches of packets at the two edges of the data plane: the UDP port and the TUN device.

A batch is one buffer plus a segment size, the form in which the kernel's offloads (UDP_SEGMENT, UDP_GRO, TUN
vnet_hdr) give and take packets; a single packet is a batch of one. Everything here is non-blocking: a port calls its
reader when it becomes readable and `receive` drains what is there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from appliance.types.addresses import AddrPort
from appliance.types.packets import Buffer, TunPacket


@dataclass(frozen=True, slots=True)
class Segments:
    """Packets back to back in one buffer; each has `size` bytes except the last, which may be shorter."""

    buffer: Buffer
    size: int

    def __iter__(self) -> Iterator[memoryview]:
        view = memoryview(self.buffer)
        for start in range(0, len(view), self.size):
            yield view[start : start + self.size]

    def __len__(self) -> int:
        return -(-len(self.buffer) // self.size) if self.size else 0


def one(packet: Buffer) -> Segments:
    """A batch of one packet."""
    return Segments(packet, len(packet))


class UdpPort(Protocol):
    """One bound UDP socket (one IP version)."""

    @property
    def local(self) -> AddrPort: ...

    def set_reader(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` in the event loop whenever datagrams wait."""
        ...

    def receive(self, limit: int = 64) -> list[tuple[AddrPort, Segments]]:
        """Up to `limit` batches; empty when nothing waits. Buffers are the caller's until the next call."""
        ...

    def send(self, to: AddrPort, batch: Segments) -> None:
        """Send every segment. A full socket buffer drops (it is UDP); other failures raise OSError."""
        ...

    def send_whole(self, to: AddrPort, packet: Buffer) -> None:
        """Send one packet that must not be fragmented. Raises OSError, EMSGSIZE where the device takes no such size."""
        ...

    def close(self) -> None: ...


class TunPort(Protocol):
    """The tunnel device."""

    @property
    def name(self) -> str: ...

    @property
    def mtu(self) -> int: ...

    @property
    def offloading(self) -> bool:
        """Whether super-packets, and packets whose checksum is left out, come and may be sent."""
        ...

    def set_reader(self, callback: Callable[[], None] | None) -> None: ...

    def receive(self, limit: int = 64) -> list[TunPacket]:
        """Up to `limit` packets that the host sends into the tunnel; their data stands until the next call."""
        ...

    def send(self, packets: Sequence[TunPacket]) -> None:
        """Hand packets to the host. A full queue drops; other failures raise OSError."""
        ...

    def close(self) -> None: ...


class MemoryUdpPort:
    """The twin of `UdpPort`: what is sent goes to `wire(source, destination, batch)`; `deliver` makes it readable."""

    def __init__(self, local: AddrPort, wire: Callable[[AddrPort, AddrPort, Segments], None] | None = None) -> None:
        self._local = local
        self._wire = wire
        self._waiting: deque[tuple[AddrPort, Segments]] = deque()
        self._reader: Callable[[], None] | None = None
        self.sent: list[tuple[AddrPort, Segments]] = []
        self.closed = False

    @property
    def local(self) -> AddrPort:
        return self._local

    def set_reader(self, callback: Callable[[], None] | None) -> None:
        self._reader = callback
        if callback is not None and self._waiting:
            callback()

    def deliver(self, source: AddrPort, batch: Segments) -> None:
        self._waiting.append((source, batch))
        if self._reader is not None:
            self._reader()

    def receive(self, limit: int = 64) -> list[tuple[AddrPort, Segments]]:
        return [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]

    def send(self, to: AddrPort, batch: Segments) -> None:
        if self.closed:
            raise OSError("port is closed")
        if self._wire is not None:
            self._wire(self._local, to, batch)
        else:
            self.sent.append((to, batch))

    def send_whole(self, to: AddrPort, packet: Buffer) -> None:
        self.send(to, one(packet))

    def close(self) -> None:
        self.closed = True
        self._reader = None


class MemoryTunPort:
    """The twin of `TunPort`: `push` plays the host, `sent` is what the host got."""

    def __init__(self, name: str = "waypost0", mtu: int = 1280, *, offloading: bool = True) -> None:
        self._name = name
        self._mtu = mtu
        self._offloading = offloading
        self._waiting: deque[TunPacket] = deque()
        self._reader: Callable[[], None] | None = None
        self.sent: list[TunPacket] = []
        self.closed = False

    @property
    def name(self) -> str:
        return self._name

    @property
    def mtu(self) -> int:
        return self._mtu

    @property
    def offloading(self) -> bool:
        return self._offloading

    def set_reader(self, callback: Callable[[], None] | None) -> None:
        self._reader = callback
        if callback is not None and self._waiting:
            callback()

    def push(self, packet: TunPacket) -> None:
        self._waiting.append(packet)
        if self._reader is not None:
            self._reader()

    def receive(self, limit: int = 64) -> list[TunPacket]:
        return [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]

    def send(self, packets: Sequence[TunPacket]) -> None:
        plain = [packet for packet in packets if not (packet.gso_size or packet.needs_checksum)]
        self.sent.extend(packets if self._offloading else plain)
        if not self._offloading and len(plain) < len(packets):
            raise OSError("the device takes whole packets only")

    def close(self) -> None:
        self.closed = True
        self._reader = None
