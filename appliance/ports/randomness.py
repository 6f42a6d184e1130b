"""Randomness as an argument, so that a seed reproduces a run."""

from __future__ import annotations

import os
import random
from collections.abc import MutableSequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Randomness(Protocol):
    def bytes(self, count: int) -> bytes:
        """`count` bytes fit for keys and nonces."""
        ...

    def uniform(self, low: float, high: float) -> float: ...

    def below(self, bound: int) -> int:
        """An integer in [0, bound)."""
        ...

    def shuffle(self, items: MutableSequence[T]) -> None: ...


class SystemRandomness:
    """The kernel's generator."""

    def __init__(self) -> None:
        self._random = random.SystemRandom()

    def bytes(self, count: int) -> bytes:
        return os.urandom(count)

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def below(self, bound: int) -> int:
        return self._random.randrange(bound)

    def shuffle(self, items: MutableSequence[T]) -> None:
        self._random.shuffle(items)


class SeededRandomness:
    """The twin: the same seed gives the same run. Never for real keys."""

    def __init__(self, seed: int | str) -> None:
        self._random = random.Random(seed)  # noqa: S311  # a reproducible twin by purpose

    def bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def below(self, bound: int) -> int:
        return self._random.randrange(bound)

    def shuffle(self, items: MutableSequence[T]) -> None:
        self._random.shuffle(items)
