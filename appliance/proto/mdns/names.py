"""Names on the wire with the letters and bytes that people gave them: instances are called "Büro 2 (Farbe)".

A `Name` is the uncompressed wire form with its closing zero; names are compared by `labels_of`, which ignores case.
"""

from __future__ import annotations

from appliance.types.errors import DecodeError, DecodeReason

MAX_WIRE = 255
MAX_LABEL = 63
MAX_JUMPS = 32
_POINTER = 0xC0

Name = bytes


def expand_name(data: bytes, at: int) -> tuple[Name, int]:
    """The name at `at` without compression, and where it ends. Raises `DecodeError`."""
    wire = bytearray()
    end, jumps = -1, 0
    while True:
        if at >= len(data):
            raise DecodeError(DecodeReason.TOO_SHORT, "name")
        length = data[at]
        if length == 0:
            return bytes(wire) + b"\0", end if end >= 0 else at + 1
        if length >= _POINTER:
            jumps += 1
            if at + 2 > len(data) or jumps > MAX_JUMPS:
                raise DecodeError(DecodeReason.BAD_VALUE, "compression")
            target = (length & ~_POINTER & 0xFF) << 8 | data[at + 1]
            if target >= at:
                raise DecodeError(DecodeReason.BAD_VALUE, "compression")
            end = end if end >= 0 else at + 2
            at = target
            continue
        if length > MAX_LABEL or len(wire) + length + 2 > MAX_WIRE:
            raise DecodeError(DecodeReason.TOO_LONG, "name")
        if at + 1 + length > len(data):
            raise DecodeError(DecodeReason.TOO_SHORT, "name")
        wire += data[at : at + 1 + length]
        at += 1 + length


def labels_of(name: Name) -> tuple[bytes, ...]:
    """The labels, ASCII letters in lower case; of no labels for the root."""
    found: list[bytes] = []
    at = 0
    while name[at]:
        found.append(name[at + 1 : at + 1 + name[at]].lower())
        at += 1 + name[at]
    return tuple(found)


def name_of(text: str) -> Name:
    """ "_ipp._tcp.local" on the wire; without escapes. Raises `DecodeError`."""
    labels = [label.encode() for label in text.rstrip(".").split(".")]
    if any(not 1 <= len(label) <= MAX_LABEL for label in labels) or sum(map(len, labels)) + len(labels) >= MAX_WIRE:
        raise DecodeError(DecodeReason.BAD_LENGTH, "name")
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def text_of(name: Name) -> str:
    """For people: labels joined by dots, as they were written; what is no text is shown as �, control bytes too."""
    found: list[str] = []
    at = 0
    while name[at]:
        label = name[at + 1 : at + 1 + name[at]].decode(errors="replace")
        found.append("".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in label))
        at += 1 + name[at]
    return ".".join(found)
