"""The Internet checksum (RFC 1071), on sums modulo 65535: 0 and 0xFFFF are the same there."""

from __future__ import annotations


def ones_sum(data: bytes | bytearray | memoryview) -> int:
    """Sum of the 16-bit words modulo 65535 (0 stands for 0xFFFF too); an odd last byte counts as a high byte."""
    total = int.from_bytes(data, "big")
    return (total << 8 if len(data) & 1 else total) % 65535


def checksum(total: int) -> int:
    """The field value for a sum of everything else: RFC 1071's complement, with 0xFFFF for an all-zero sum."""
    return 65535 - total % 65535
