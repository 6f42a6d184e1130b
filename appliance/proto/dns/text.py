"""Records' data as people read it (RFC 1035 section 5.1; RFC 3597 for types that are not known here)."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from appliance.proto.dns.names import read_name
from appliance.proto.dns.numbers import AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT, A
from appliance.proto.dns.reply import Record, Reply
from appliance.types.errors import DecodeError

_NAMED = frozenset({CNAME, NS, PTR})


def data_text(reply: Reply, record: Record) -> str:
    """Never raises: data that is not as its type says is shown in hexadecimal digits."""
    try:
        return _text(reply.data, record)
    except (DecodeError, ValueError, struct.error):
        raw = reply.data[record.data_at : record.data_at + record.length]
        return f"\\# {len(raw)} {raw.hex()}".rstrip()


def _text(data: bytes, record: Record) -> str:
    at, end = record.data_at, record.data_at + record.length
    if record.rtype == A:
        return str(IPv4Address(data[at:end]))
    if record.rtype == AAAA:
        return str(IPv6Address(data[at:end]))
    if record.rtype in _NAMED:
        return _name(data, at)[0]
    if record.rtype == MX:
        return f"{struct.unpack_from('>H', data, at)[0]} {_name(data, at + 2)[0]}"
    if record.rtype == SRV:
        return f"{' '.join(map(str, struct.unpack_from('>HHH', data, at)))} {_name(data, at + 6)[0]}"
    if record.rtype == TXT:
        return " ".join(_strings(data[at:end]))
    if record.rtype == SOA:
        primary, at = _name(data, at)
        mailbox, at = _name(data, at)
        return f"{primary} {mailbox} {' '.join(map(str, struct.unpack_from('>IIIII', data, at)))}"
    raise ValueError(record.rtype)


def _name(data: bytes, at: int) -> tuple[str, int]:
    name, end = read_name(data, at)
    return f"{name}.", end


def _strings(raw: bytes) -> list[str]:
    """One at least (RFC 1035 section 3.3.14)."""
    found: list[str] = []
    at = 0
    while at < len(raw) or not found:
        end = at + 1 + (raw[at] if raw else 0)
        if end > len(raw):
            raise ValueError("cut")
        part = raw[at + 1 : end]
        found.append('"' + "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03d}" for b in part) + '"')
        at = end
    return found
