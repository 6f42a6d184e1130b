"""Types and codes of ICMP in the other version's words (RFC 7915 sections 4.2 and 5.2), pure.

Both have one head: 0:1 type, 1:1 code, 2:2 checksum, 4:4 rest; an error quotes the packet that it is about.
"""

from __future__ import annotations

from typing import NamedTuple

MIN_V6_MTU = 1280
GROWTH = 20
"""Bytes by which an IPv6 header is longer."""
ECHO = {8: 128, 0: 129}
ECHO_BACK = {number: other for other, number in ECHO.items()}
V4_UNREACHABLE, V4_EXCEEDED, V4_BAD = 3, 11, 12
V6_UNREACHABLE, V6_TOO_BIG, V6_EXCEEDED, V6_BAD = 1, 2, 3, 4
V4_TOO_BIG_CODE = 4
_NEXT_HEADER = 6
_PORT, _NO_ROUTE, _PROHIBITED = 4, 0, 1
_TO_V6_UNREACHABLE = {
    0: _NO_ROUTE, 1: _NO_ROUTE, 3: _PORT, 5: _NO_ROUTE, 6: _NO_ROUTE, 7: _NO_ROUTE, 8: _NO_ROUTE,
    9: _PROHIBITED, 10: _PROHIBITED, 11: _NO_ROUTE, 12: _NO_ROUTE, 13: _PROHIBITED, 15: _PROHIBITED,
}  # fmt: skip
_TO_V4_UNREACHABLE = {0: 1, 1: 10, 2: 1, 3: 1, 4: 3}
_TO_V6_POINTER = {
    0: 0, 1: 1, 2: 4, 3: 4, 8: 7, 9: 6, 12: 8, 13: 8, 14: 8, 15: 8, 16: 24, 17: 24, 18: 24, 19: 24,
}  # fmt: skip
_TO_V4_POINTER = {
    0: 0,
    1: 1,
    4: 2,
    5: 2,
    6: 9,
    7: 8,
    **dict.fromkeys(range(8, 24), 12),
    **dict.fromkeys(range(24, 40), 16),
}
_PLATEAUS = (65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68)
"""RFC 1191 section 7.1, for routers that do not tell their MTU."""


class Error(NamedTuple):
    """An ICMP error without its quotation; `rest` are its second four bytes."""

    kind: int
    code: int
    rest: int = 0


def error_to_v6(error: Error, quoted_length: int, mtu: int) -> Error | None:
    """None: has no counterpart. `mtu` is that of the IPv6 side, `quoted_length` of the whole packet that is quoted."""
    if error.kind == V4_UNREACHABLE:
        if error.code == V4_TOO_BIG_CODE:
            told = error.rest & 0xFFFF or next((size for size in _PLATEAUS if size < quoted_length), _PLATEAUS[-1])
            return Error(V6_TOO_BIG, 0, max(MIN_V6_MTU, min(told + GROWTH, mtu)))
        if error.code == 2:
            return Error(V6_BAD, 1, _NEXT_HEADER)
        code = _TO_V6_UNREACHABLE.get(error.code)
        return Error(V6_UNREACHABLE, code) if code is not None else None
    if error.kind == V4_EXCEEDED:
        return Error(V6_EXCEEDED, error.code)
    if error.kind == V4_BAD and error.code in (0, 2):
        pointer = _TO_V6_POINTER.get(error.rest >> 24)
        return Error(V6_BAD, 0, pointer) if pointer is not None else None
    return None


def error_to_v4(error: Error, mtu: int) -> Error | None:
    """None: has no counterpart. `mtu` is that of the IPv6 side."""
    if error.kind == V6_UNREACHABLE:
        code = _TO_V4_UNREACHABLE.get(error.code)
        return Error(V4_UNREACHABLE, code) if code is not None else None
    if error.kind == V6_TOO_BIG:
        told = max(MIN_V6_MTU, min(error.rest, mtu))
        return Error(V4_UNREACHABLE, V4_TOO_BIG_CODE, told - GROWTH)
    if error.kind == V6_EXCEEDED:
        return Error(V4_EXCEEDED, error.code)
    if error.kind == V6_BAD and error.code == 1:
        return Error(V4_UNREACHABLE, 2)
    if error.kind == V6_BAD and error.code == 0:
        pointer = _TO_V4_POINTER.get(error.rest)
        return Error(V4_BAD, 0, pointer << 24) if pointer is not None else None
    return None
