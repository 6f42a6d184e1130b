"""What two sequences that differ by little have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress, count
from typing import TypeVar

T = TypeVar("T")


def common_ends(former: Sequence[T], now: Sequence[T], differ: Callable[[T, T], bool]) -> tuple[int, int]:
    """How long the beginnings are that do not differ, and then the ends; each element is counted once."""
    least = min(len(former), len(now))
    head = next(compress(count(), map(differ, former, now)), least)
    tail = next(compress(count(), map(differ, reversed(former), reversed(now))), least)
    return head, min(tail, least - head)
