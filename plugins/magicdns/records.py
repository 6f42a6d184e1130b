"""Pure: records of the settings and of control ("nas.home A 192.168.1.9"), as they go on the wire."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from appliance.proto.dns import encode_name, reverse_name
from appliance.proto.dns.numbers import AAAA, CNAME, PTR, TXT, A
from appliance.types.addresses import Address
from appliance.types.errors import DecodeError
from plugins.magicdns.errors import RecordSettingError

FORM = 'write "name A 192.168.1.9", "name AAAA fd00::9", "name CNAME other.name" or "name TXT text"'
MAX_TEXT = 255
_VERSION = {"A": 4, "AAAA": 6}


@dataclass(frozen=True, slots=True)
class LocalRecord:
    """`target` is a CNAME's, as text; `data` is what goes on the wire."""

    name: str
    rtype: int
    data: bytes
    target: str = ""


def parse_record(text: str, key: str) -> LocalRecord:
    """Raises `RecordSettingError`."""
    words = text.split(maxsplit=2)
    try:
        if len(words) == 3:
            return make_record(*words)
    except (ValueError, DecodeError):
        pass
    raise RecordSettingError(key, f"{text[:80]!r} is not a record", mend=FORM)


def make_record(name: str, rtype: str, value: str) -> LocalRecord:
    """`rtype` "" takes the address's. Raises ValueError and `DecodeError`."""
    plain = clean_name(name)
    kind = rtype.upper()
    if kind == "CNAME":
        target = clean_name(value)
        return LocalRecord(plain, CNAME, encode_name(target), target)
    if kind == "TXT":
        raw = value.encode()
        if not 1 <= len(raw) <= MAX_TEXT:
            raise ValueError(value)
        return LocalRecord(plain, TXT, bytes((len(raw),)) + raw)
    address = ip_address(value)
    if kind not in ("", *_VERSION) or (kind and _VERSION[kind] != address.version):
        raise ValueError(value)
    return LocalRecord(plain, A if address.version == 4 else AAAA, address.packed)


def clean_name(text: str) -> str:
    """As names are compared. Raises `DecodeError`; ValueError for the root."""
    wire = encode_name(text)
    if len(wire) == 1:
        raise ValueError(text)
    return text.rstrip(".").lower() if text.isascii() else _decoded(wire)


def _decoded(wire: bytes) -> str:
    labels, at = [], 0
    while wire[at]:
        labels.append(wire[at + 1 : at + 1 + wire[at]].decode("ascii").lower())
        at += 1 + wire[at]
    return ".".join(labels)


def pointer(address: Address, name: str) -> LocalRecord:
    return LocalRecord(reverse_name(address), PTR, encode_name(name), name)


def by_name(records: Iterable[LocalRecord]) -> Mapping[str, tuple[LocalRecord, ...]]:
    """With a PTR record for every address, the first name given to it counting."""
    found: dict[str, list[LocalRecord]] = {}
    for record in records:
        found.setdefault(record.name, []).append(record)
        if record.rtype in (A, AAAA):
            back = pointer(ip_address(record.data), record.name)
            found.setdefault(back.name, [back])
    return {name: tuple(held) for name, held in found.items()}
