"""TAI64N: 8 bytes big-endian seconds, 4 bytes big-endian nanoseconds, the low 24 bits of these zeroed (spec 2.2)."""

from __future__ import annotations

SIZE = 12
ZERO = bytes(SIZE)
_EPOCH = 0x400000000000000A
_WHITENED = 1 << 24
_SECOND = 1_000_000_000


def encode_tai64n(unix_ns: int) -> bytes:
    """The timestamp of a wall clock reading in nanoseconds; readings before 1970 count as 1970."""
    seconds, nanoseconds = divmod(max(0, unix_ns), _SECOND)
    return (_EPOCH + seconds).to_bytes(8, "big") + (nanoseconds & ~(_WHITENED - 1)).to_bytes(4, "big")


def _after(stamp: bytes) -> bytes:
    seconds, nanoseconds = int.from_bytes(stamp[:8], "big"), int.from_bytes(stamp[8:], "big")
    nanoseconds += _WHITENED
    if nanoseconds >= _SECOND:
        seconds, nanoseconds = seconds + 1, 0
    return seconds.to_bytes(8, "big") + nanoseconds.to_bytes(4, "big")


class TimestampSource:
    """Gives strictly rising timestamps even when the wall clock stands still or jumps back.

    `last` is to be stored and given back at the next start: without it a box that boots with a wrong date is refused
    by every peer. A store that writes seldom gives back `last` plus the time it may have missed.
    """

    __slots__ = ("last",)

    def __init__(self, last: bytes = ZERO) -> None:
        self.last = last if len(last) == SIZE else ZERO

    def next(self, unix_ns: int) -> bytes:
        self.last = max(encode_tai64n(unix_ns), _after(self.last))
        return self.last
