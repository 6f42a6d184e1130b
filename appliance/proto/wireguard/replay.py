"""Sliding window over received counters (RFC 6479, with 8-bit blocks): late packets pass once, repeated ones never."""

from __future__ import annotations


class ReplayWindow:
    """Remembers `bits` counters in a ring, of which `bits - 8` below the greatest are usable."""

    __slots__ = ("_blocks", "_greatest", "_mask", "_usable")

    def __init__(self, bits: int = 8192) -> None:
        if bits < 64 or bits & (bits - 1):
            raise ValueError("the window is a power of two of at least 64 bits")
        self._blocks = bytearray(bits >> 3)
        self._mask = (bits >> 3) - 1
        self._usable = bits - 8
        self._greatest = -1

    def may_accept(self, counter: int) -> bool:
        """Whether the counter is new; changes nothing, so it may run before authentication."""
        if counter > self._greatest:
            return True
        if self._greatest - counter >= self._usable:
            return False
        return not self._blocks[(counter >> 3) & self._mask] & (1 << (counter & 7))

    def mark(self, counter: int) -> bool:
        """Note an authenticated counter; False when it was seen before or is too old."""
        blocks, mask = self._blocks, self._mask
        block = counter >> 3
        greatest = self._greatest
        if counter > greatest:
            top = greatest >> 3
            if block != top:
                for fresh in range(max(top + 1, block - mask), block + 1):
                    blocks[fresh & mask] = 0
            self._greatest = counter
        elif greatest - counter >= self._usable:
            return False
        bit = 1 << (counter & 7)
        if blocks[block & mask] & bit:
            return False
        blocks[block & mask] |= bit
        return True
