"""A reply as it comes from a resolver: checked whole, its records found in place (RFC 1035 section 4.1)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from appliance.proto.dns.names import read_name, skip_name
from appliance.proto.dns.numbers import AAAA, CNAME, IN, OPT, PTR, QR, SOA, TC, A
from appliance.proto.dns.query import HEADER, RECORD_HEAD, record_head
from appliance.types.addresses import Address
from appliance.types.errors import DecodeError, DecodeReason

MAX_REPLY_BYTES = 65535
ANSWER, AUTHORITY, ADDITIONAL = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Record:
    """`ttl` in seconds; `ttl_at` and `data_at` are offsets into the reply, `length` that of the data in bytes."""

    section: int
    owner: str
    rtype: int
    rclass: int
    ttl: int
    ttl_at: int
    data_at: int
    length: int


@dataclass(frozen=True, slots=True)
class Reply:
    """`data` holds no OPT record any more, whose part of the response code is in `rcode`."""

    data: bytes
    id: int
    flags: int
    rcode: int
    key: bytes
    """The question with a lower-case name; empty without a question."""
    records: tuple[Record, ...]
    had_edns: bool

    @property
    def truncated(self) -> bool:
        return bool(self.flags & TC)

    def answers(self) -> Iterator[Record]:
        return (record for record in self.records if record.section == ANSWER and record.rclass == IN)

    def addresses(self) -> Iterator[tuple[str, Address, int]]:
        """Owner, address and TTL of each A and AAAA record among the answers."""
        for record in self.answers():
            raw = self.data[record.data_at : record.data_at + record.length]
            if record.rtype == A and len(raw) == 4:
                yield record.owner, IPv4Address(raw), record.ttl
            elif record.rtype == AAAA and len(raw) == 16:
                yield record.owner, IPv6Address(raw), record.ttl

    def targets(self, rtype: int = CNAME) -> Iterator[tuple[str, str]]:
        """Owner and target of each CNAME (or PTR) among the answers."""
        assert rtype in (CNAME, PTR)
        for record in self.answers():
            if record.rtype == rtype:
                yield record.owner, read_name(self.data, record.data_at)[0]

    def negative_ttl(self) -> int | None:
        """How long a negative answer holds (RFC 2308 section 5); None without an SOA record."""
        for record in self.records:
            if record.section == AUTHORITY and record.rtype == SOA and record.length >= 22:
                minimum = int(struct.unpack_from(">I", self.data, record.data_at + record.length - 4)[0])
                return min(record.ttl, minimum)
        return None


def parse_reply(data: bytes) -> Reply:
    """Raises `DecodeError`. What follows an OPT record in the last section is left out with it."""
    if len(data) < 12:
        raise DecodeError(DecodeReason.TOO_SHORT, "reply")
    if len(data) > MAX_REPLY_BYTES:
        raise DecodeError(DecodeReason.TOO_LONG, "reply")
    number, flags, questions, *counts = HEADER.unpack_from(data)
    if not flags & QR or questions > 1:
        raise DecodeError(DecodeReason.BAD_TYPE, "not a reply")
    at, key = 12, b""
    if questions:
        end = skip_name(data, 12, pointers=False)
        if end + 4 > len(data):
            raise DecodeError(DecodeReason.TOO_SHORT, "question")
        key = data[12:end].lower() + data[end : end + 4]
        at = end + 4
    records: list[Record] = []
    for section, count in enumerate(counts):
        for index in range(count):
            start = at
            record, at = _record(data, at, section)
            if record.rtype == OPT:
                if section != ADDITIONAL:
                    raise DecodeError(DecodeReason.BAD_VALUE, "OPT")
                kept = data[:10] + struct.pack(">H", index) + data[12:start]
                rcode = flags & 0xF | record.ttl >> 24 << 4
                return _checked(Reply(kept, number, flags, rcode, key, tuple(records), True))
            records.append(record)
    return _checked(Reply(data[:at], number, flags, flags & 0xF, key, tuple(records), False))


def _record(data: bytes, at: int, section: int) -> tuple[Record, int]:
    owner, at = read_name(data, at)
    kind, klass, ttl, length = record_head(data, at)
    ttl = ttl if ttl < 1 << 31 or kind == OPT else 0  # RFC 2181 section 8
    return Record(section, owner, kind, klass, ttl, at + 4, at + RECORD_HEAD, length), at + RECORD_HEAD + length


def _checked(reply: Reply) -> Reply:
    """Names and addresses inside of records that are read later."""
    for record in reply.records:
        if record.rtype in (CNAME, PTR) and record.rclass == IN:
            _, end = read_name(reply.data, record.data_at)
            if end != record.data_at + record.length:
                raise DecodeError(DecodeReason.BAD_LENGTH, "name in a record")
    return reply
