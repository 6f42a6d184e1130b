"""A query as it comes from a client (RFC 1035 section 4.1, EDNS: RFC 6891 section 6.1)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache

from appliance.proto.dns.names import read_name, skip_name
from appliance.proto.dns.numbers import DO, OPCODE_MASK, OPT, QR
from appliance.types.errors import DecodeError, DecodeReason

HEADER = struct.Struct(">HHHHHH")
MAX_QUERY_BYTES = 4096
MIN_UDP_BYTES = 512
_RECORD = struct.Struct(">HHIH")
RECORD_HEAD = _RECORD.size
MAX_RECORDS = 32


@dataclass(frozen=True, slots=True)
class Edns:
    """What a client's OPT record says; `udp_size` is how large a datagram it takes."""

    udp_size: int
    version: int
    dnssec_ok: bool


@dataclass(frozen=True, slots=True)
class Query:
    """`question` is as sent, with its letters' case; `key` the same with a lower-case name."""

    id: int
    flags: int
    question: bytes
    key: bytes
    qtype: int
    qclass: int
    edns: Edns | None = None

    @property
    def name(self) -> str:
        """Lower case, without the dot at the end."""
        return _name(self.key)

    @property
    def dnssec_ok(self) -> bool:
        return self.edns is not None and self.edns.dnssec_ok

    @property
    def udp_limit(self) -> int:
        """Largest datagram that may go back."""
        return MIN_UDP_BYTES if self.edns is None else max(MIN_UDP_BYTES, self.edns.udp_size)


@lru_cache(maxsize=256)
def _name(key: bytes) -> str:
    """Asked for several times while a query is answered."""
    return read_name(key, 0)[0]


def parse_query(data: bytes) -> Query:
    """One question; records but OPT are read over. Raises `DecodeError`; `UNEXPECTED` means another opcode."""
    if len(data) < 17:
        raise DecodeError(DecodeReason.TOO_SHORT, "query")
    if len(data) > MAX_QUERY_BYTES:
        raise DecodeError(DecodeReason.TOO_LONG, "query")
    number, flags, questions, answers, authorities, additional = HEADER.unpack_from(data)
    if flags & QR:
        raise DecodeError(DecodeReason.BAD_TYPE, "a reply")
    if flags & OPCODE_MASK:
        raise DecodeError(DecodeReason.UNEXPECTED, "opcode")
    others = answers + authorities
    if questions != 1 or others + additional > MAX_RECORDS:
        raise DecodeError(DecodeReason.BAD_LENGTH, "sections")
    name_end = skip_name(data, 12, pointers=False)  # there is nothing before it to point to
    if name_end + 4 > len(data):
        raise DecodeError(DecodeReason.TOO_SHORT, "question")
    end = name_end + 4
    key = data[12:name_end].lower() + data[name_end:end]
    edns = _edns(data, end, others, additional) if others or additional else None
    qtype, qclass = struct.unpack_from(">HH", data, name_end)
    return Query(number, flags, data[12:end], key, qtype, qclass, edns)


def _edns(data: bytes, at: int, others: int, additional: int) -> Edns | None:
    found: Edns | None = None
    for index in range(others + additional):
        is_root = data[at : at + 1] == b"\0"
        at = skip_name(data, at)
        kind, klass, ttl, length = record_head(data, at)
        at += RECORD_HEAD + length
        if kind == OPT:
            if found is not None or not is_root or index < others:
                raise DecodeError(DecodeReason.BAD_VALUE, "OPT")
            found = Edns(klass, ttl >> 16 & 0xFF, bool(ttl & DO))
    return found


def record_head(data: bytes, at: int) -> tuple[int, int, int, int]:
    """Type, class, TTL and length of data, behind a record's name. Raises `DecodeError`, also for data that is cut."""
    if at + RECORD_HEAD > len(data):
        raise DecodeError(DecodeReason.TOO_SHORT, "record")
    kind, klass, ttl, length = _RECORD.unpack_from(data, at)
    if at + RECORD_HEAD + length > len(data):
        raise DecodeError(DecodeReason.TOO_SHORT, "record")
    return kind, klass, ttl, length
