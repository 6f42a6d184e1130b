"""Inputs from inputs: the mutations of the fuzz runner. A seed repeats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

MAX_INPUT = 4096
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

Mutation = Callable[[bytearray, Random], None]


def _place(data: bytearray, random: Random) -> int:
    return random.randrange(len(data)) if data else 0


def _flip(data: bytearray, random: Random) -> None:
    if data:
        data[_place(data, random)] ^= 1 << random.randrange(8)


def _set(data: bytearray, random: Random) -> None:
    if data:
        data[_place(data, random)] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))


def _number(data: bytearray, random: Random) -> None:
    """A length field lies where nobody knows: any width, both orders."""
    size = random.choice((1, 2, 3, 4, 8))
    value = random.choice((*NUMBERS, len(data), max(0, len(data) - size))) & ((1 << 8 * size) - 1)
    at = _place(data, random)
    data[at : at + size] = value.to_bytes(size, random.choice(("big", "little")))


def _insert(data: bytearray, random: Random) -> None:
    at = _place(data, random)
    data[at:at] = random.randbytes(random.randint(1, 8))


def _delete(data: bytearray, random: Random) -> None:
    at = _place(data, random)
    del data[at : at + random.randint(1, 16)]


def _truncate(data: bytearray, random: Random) -> None:
    del data[_place(data, random) :]


def _repeat(data: bytearray, random: Random) -> None:
    at = _place(data, random)
    part = data[at : at + random.randint(1, 32)]
    data[at:at] = part * random.randint(1, 4)


def _digit(data: bytearray, random: Random) -> None:
    """Numbers in text grow and shrink."""
    digits = [at for at, value in enumerate(data) if 0x30 <= value <= 0x39]
    if digits:
        at = random.choice(digits)
        data[at : at + 1] = random.choice((b"0", b"-1", b"9" * 20, b"1e999", b"0.5", b"65536"))


MUTATIONS: tuple[Mutation, ...] = (_flip, _flip, _set, _number, _insert, _delete, _truncate, _repeat, _digit)


def mutate(parent: bytes, corpus: Sequence[bytes], words: Sequence[bytes], random: Random) -> bytes:
    """A child of `parent`: one to four changes, words of the format and pieces of other inputs among them."""
    data = bytearray(parent)
    for _ in range(1 << random.randrange(3)):
        choice = random.randrange(len(MUTATIONS) + 2)
        if choice < len(MUTATIONS):
            MUTATIONS[choice](data, random)
        elif choice == len(MUTATIONS) and words:
            at = _place(data, random)
            data[at : at + random.choice((0, 0, 1, 4))] = random.choice(words)
        else:
            other = random.choice(corpus)
            start = random.randrange(len(other) + 1)
            at = _place(data, random)
            data[at:] = other[start:]
    return bytes(data[:MAX_INPUT])
