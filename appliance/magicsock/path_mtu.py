"""How large packets may be on one path: padded pings that nobody may fragment (magicsock-disco spec 3.10).

Own: sizes are asked only of a path that is in use, three times, for a lost ping looks like one that was too large, and
again every ten minutes, for the way may have changed (MAX_PROBES and PMTU_RAISE_TIMER of RFC 8899 section 5.1).
"""

from __future__ import annotations

from appliance.magicsock.timing import NEVER
from appliance.types.addresses import AddrPort

SIZES = (1280, 1360, 1400, 1500, 8000, 9000)
"""Bytes of an IP packet that are tried."""
TRIES = 3
TRY_INTERVAL = 2.5
ROUND_INTERVAL = 600.0

_UDP_HEADER = 8
_BARE_PING = 124
"""Bytes of a disco ping with its node key and no padding (1.3)."""


def padding_of(size: int, to: AddrPort) -> int:
    """Zero bytes that make a ping an IP packet of `size`."""
    return size - (40 if to.is_v6 else 20) - _UDP_HEADER - _BARE_PING


class PathMtu:
    """`known`: the largest size that passed, 0 = not even the smallest, None = not known yet."""

    __slots__ = ("_found", "_next_at", "_tries", "known")

    def __init__(self) -> None:
        self.known: int | None = None
        self.clear()

    def clear(self) -> None:
        """Another network: nothing that was found out holds."""
        self.known = None
        self._found = 0
        self._tries = 0
        self._next_at = NEVER

    def due(self, now: float) -> tuple[int, ...]:
        """Sizes to ask for now. To be called while the path answers ordinary pings."""
        if now < self._next_at:
            return ()
        if self._tries == TRIES or self._found == SIZES[-1]:
            self._conclude(now)
            return ()
        if not self._tries:
            self._found = 0
        self._tries += 1
        self._next_at = now + TRY_INTERVAL
        return tuple(size for size in SIZES if size > self._found)

    def _conclude(self, now: float) -> None:
        self.known = self._found
        self._tries = 0
        self._found = 0
        self._next_at = now + ROUND_INTERVAL

    def answered(self, size: int) -> None:
        """A ping of that size came through."""
        self._found = max(self._found, size)
        self.known = max(self.known or 0, size)
