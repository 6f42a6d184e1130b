"""Domain names: on the wire (RFC 1035 section 3.1, compression 4.1.4) and as text.

Text is lower case without a dot at the end; "" is the root. Bytes that a host name would not have are written \\DDD.
"""

from __future__ import annotations

from appliance.types.addresses import Address, literal
from appliance.types.errors import DecodeError, DecodeReason

MAX_WIRE = 255
MAX_LABEL = 63
MAX_JUMPS = 64
HEADER_BYTES = 12
"""No name is there to point to."""
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_*")
_V4_ZONE, _V6_ZONE = ".in-addr.arpa", ".ip6.arpa"


def skip_name(data: bytes, at: int, *, pointers: bool = True) -> int:
    """Where the name that starts at `at` ends; it may point to another one. Raises `DecodeError`."""
    start = at
    while at < len(data):
        length = data[at]
        if length == 0:
            return at + 1
        if length >= 0xC0:
            if at + 2 > len(data):
                break
            if pointers:
                return at + 2
        if length > MAX_LABEL:
            raise DecodeError(DecodeReason.BAD_VALUE, "label type")
        at += 1 + length
        if at - start > MAX_WIRE:
            raise DecodeError(DecodeReason.TOO_LONG, "name")
    raise DecodeError(DecodeReason.TOO_SHORT, "name")


def read_name(data: bytes, at: int) -> tuple[str, int]:
    """A name that may be compressed, as text, and where it ends. Raises `DecodeError`."""
    labels: list[str] = []
    end, size, jumps = -1, 1, 0
    limit = len(data)
    while True:
        if at >= limit:
            raise DecodeError(DecodeReason.TOO_SHORT, "name")
        length = data[at]
        if length == 0:
            return ".".join(labels), end if end >= 0 else at + 1
        if length >= 0xC0:
            jumps += 1
            if at + 2 > limit or jumps > MAX_JUMPS:
                raise DecodeError(DecodeReason.BAD_VALUE, "compression")
            target = (length & 0x3F) << 8 | data[at + 1]
            end = end if end >= 0 else at + 2
            if not HEADER_BYTES <= target < at:
                raise DecodeError(DecodeReason.BAD_VALUE, "compression")
            at, limit = target, at  # what is pointed to ended before
            continue
        size += 1 + length
        if length > MAX_LABEL or size > MAX_WIRE:
            raise DecodeError(DecodeReason.TOO_LONG, "name")
        if at + 1 + length > limit:
            raise DecodeError(DecodeReason.TOO_SHORT, "name")
        labels.append(_label_text(data[at + 1 : at + 1 + length]))
        at += 1 + length


def _label_text(label: bytes) -> str:
    lower = label.lower()
    if _PLAIN.issuperset(lower):
        return lower.decode("ascii")
    return "".join(chr(byte) if byte in _PLAIN else f"\\{byte:03d}" for byte in lower)


def encode_name(text: str) -> bytes:
    """On the wire, uncompressed. Letters beyond ASCII become A-labels. Raises `DecodeError`."""
    text = text.rstrip(".")
    wire = b"".join(bytes((len(label),)) + label for label in map(_label_wire, text.split("."))) if text else b""
    if len(wire) + 1 > MAX_WIRE:
        raise DecodeError(DecodeReason.TOO_LONG, "name")
    return wire + b"\0"


def _label_wire(label: str) -> bytes:
    if "\\" in label:
        raw = _unescaped(label)
    elif label.isascii():
        raw = label.encode()
    else:
        try:
            raw = label.encode("idna")
        except UnicodeError:
            raise DecodeError(DecodeReason.BAD_TEXT, "name") from None
    if not 1 <= len(raw) <= MAX_LABEL:
        raise DecodeError(DecodeReason.BAD_LENGTH, "label")
    return raw


def _unescaped(label: str) -> bytes:
    found = bytearray()
    at = 0
    while at < len(label):
        if label[at] != "\\":
            found += label[at].encode()
            at += 1
            continue
        digits = label[at + 1 : at + 4]
        if len(digits) != 3 or not digits.isascii() or not digits.isdigit() or int(digits) > 255:
            raise DecodeError(DecodeReason.BAD_TEXT, "escape")
        found.append(int(digits))
        at += 4
    return bytes(found)


def is_below(name: str, zone: str) -> bool:
    """Whether `name` is the zone or inside of it; everything is below the root."""
    return not zone or name == zone or name.endswith("." + zone)


def parent(name: str) -> str:
    """Without the first label; "" at the end."""
    return name.partition(".")[2]


def reverse_name(address: Address) -> str:
    """The name under which PTR records of an address are."""
    return address.reverse_pointer


def from_reverse(name: str) -> Address | None:
    """The address whose reverse name that is, None where it is none."""
    if name.endswith(_V4_ZONE):
        octets = name[: -len(_V4_ZONE)].split(".")
        if len(octets) == 4:
            return literal(".".join(reversed(octets)))
    elif name.endswith(_V6_ZONE):
        digits = name[: -len(_V6_ZONE)].split(".")
        if len(digits) == 32 and all(len(digit) == 1 for digit in digits):
            text = "".join(reversed(digits))
            return literal(":".join(text[at : at + 4] for at in range(0, 32, 4)))
    return None
