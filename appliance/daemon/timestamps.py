"""Keeps the greatest handshake timestamp over restarts: a box that boots with a wrong date is refused without it.

Written at most once a minute. After a crash the stored value may be that old, so that much is added to it.
"""

from __future__ import annotations

from collections.abc import Callable

from appliance.ports.clock import Clock
from appliance.state.coalesce import INTERVAL_S, CoalescedWriter
from appliance.state.document import DamagedStateError, Document
from appliance.state.profiles import Handshakes
from appliance.types.errors import StateError

SIZE = 12
_MISSED_S = int(2 * INTERVAL_S)


class TimestampKeeper:
    """`on_error` is told of writes that fail; without it they raise."""

    def __init__(
        self,
        document: Document[Handshakes],
        clock: Clock,
        on_error: Callable[[StateError], None] | None = None,
    ) -> None:
        self._document = document
        self._sent = ""
        self._complete = False
        self._writer = CoalescedWriter(self._write, clock, on_error=on_error)

    def load(self) -> bytes:
        """The value to start from; 12 zero bytes when there is none, or when the document is damaged."""
        try:
            stored = self._document.load()
        except DamagedStateError:
            stored = None
        if stored is None or len(stored.sent) != 2 * SIZE:
            return bytes(SIZE)
        stamp = bytes.fromhex(stored.sent)
        return stamp if stored.complete else later(stamp, _MISSED_S)

    def note(self, stamp: bytes) -> None:
        """The engine's greatest timestamp now."""
        if any(stamp) and stamp.hex() != self._sent:
            self._sent = stamp.hex()
            self._writer.mark()

    async def poll(self) -> None:
        await self._writer.poll()

    async def finish(self) -> None:
        """The process ends in order: nothing greater will be sent."""
        if self._sent:
            self._complete = True
            self._writer.mark()
            await self._writer.flush()

    def _write(self) -> None:
        self._document.save(Handshakes(self._sent, self._complete))


def later(stamp: bytes, seconds: int) -> bytes:
    """A TAI64N timestamp (8 bytes big-endian seconds, 4 bytes nanoseconds) moved forward."""
    whole = min(int.from_bytes(stamp[:8], "big") + seconds, 2**63 - 1)
    return whole.to_bytes(8, "big") + stamp[8:]
