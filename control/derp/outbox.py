"""What waits to be written to one client: two head-drop packet queues and control frames (derp spec 3.3, 3.4)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from control.derp.metrics import DropReason

if TYPE_CHECKING:
    from control.derp.metrics import DerpMetrics

QUEUE_PACKETS = 32
MAX_CONTROL = 4096
CHUNK_BYTES = 65536


class Outbox:
    """Packets of each kind have a queue of 32, so that data cannot starve disco; a full one loses its oldest."""

    __slots__ = ("_control", "_disco", "_metrics", "_other")

    def __init__(self, metrics: DerpMetrics) -> None:
        self._metrics = metrics
        self._control: deque[bytes] = deque()
        self._disco: deque[bytes] = deque()
        self._other: deque[bytes] = deque()

    def is_full(self, is_disco: bool) -> bool:
        return len(self._disco if is_disco else self._other) >= QUEUE_PACKETS

    def add_packet(self, frame: bytes, is_disco: bool) -> None:
        queue = self._disco if is_disco else self._other
        if len(queue) >= QUEUE_PACKETS:
            queue.popleft()
            self._metrics.drop(DropReason.QUEUE_HEAD, is_disco)
        queue.append(frame)

    def add_control(self, frame: bytes) -> bool:
        """False when the client let so much pile up that it is beyond help."""
        self._control.append(frame)
        return len(self._control) <= MAX_CONTROL

    def take(self) -> bytes:
        """The next bytes to write, about 64 KiB at most: control frames, then both queues in turn."""
        parts: list[bytes] = []
        size = 0
        while self._control and size < CHUNK_BYTES:
            parts.append(self._control.popleft())
            size += len(parts[-1])
        control = len(parts)
        disco, other = self._disco, self._other
        while size < CHUNK_BYTES and (disco or other):
            for queue in (disco, other):
                if queue:
                    frame = queue.popleft()
                    parts.append(frame)
                    size += len(frame)
        self._metrics.packets_sent += len(parts) - control
        self._metrics.bytes_sent += size
        return b"".join(parts)

    def abandon(self) -> None:
        """The client is gone and its packets with it."""
        for queue, is_disco in ((self._disco, True), (self._other, False)):
            while queue:
                queue.pop()
                self._metrics.drop(DropReason.GONE_DISCONNECTED, is_disco)
        self._control.clear()

    def __bool__(self) -> bool:
        return bool(self._other or self._disco or self._control)
