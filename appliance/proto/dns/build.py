"""Writes queries and replies (RFC 1035 section 4.1, EDNS: RFC 6891)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.proto.dns.names import encode_name
from appliance.proto.dns.numbers import AA, CD, DO, IN, OPCODE_MASK, OPT, QR, RA, RD, TC
from appliance.proto.dns.query import HEADER, Query

UDP_BYTES = 1232
"""What we take and send in a datagram at most: it passes every IPv6 path without fragments."""
_FIXED = struct.Struct(">HHIH")
_QUESTION_NAME = b"\xc0\x0c"


@dataclass(frozen=True, slots=True)
class Answer:
    """A record; `owner` None is the question's name, as it was asked. `data` is on the wire, uncompressed."""

    rtype: int
    data: bytes
    ttl: int
    owner: str | None = None

    def encode(self) -> bytes:
        owner = _QUESTION_NAME if self.owner is None else encode_name(self.owner)
        return owner + _FIXED.pack(self.rtype, IN, self.ttl, len(self.data)) + self.data


def opt_record(dnssec_ok: bool, rcode: int = 0) -> bytes:
    return b"\0" + _FIXED.pack(OPT, UDP_BYTES, rcode >> 4 << 24 | (DO if dnssec_ok else 0), 0)


def build_query(number: int, question: bytes, *, dnssec_ok: bool, checking_disabled: bool, edns: bool = True) -> bytes:
    """A recursive query; `question` keeps its letters' case."""
    flags = RD | (CD if checking_disabled else 0)
    return HEADER.pack(number, flags, 1, 0, 0, int(edns)) + question + (opt_record(dnssec_ok) if edns else b"")


def build_reply(
    query: Query,
    rcode: int,
    answers: Sequence[Answer] = (),
    authority: Sequence[Answer] = (),
    *,
    authoritative: bool = True,
) -> bytes:
    flags = QR | query.flags & (RD | CD) | rcode & 0xF | (AA if authoritative else 0)
    flags |= RA if query.flags & RD else 0
    edns = query.edns is not None
    head = HEADER.pack(query.id, flags, 1, len(answers), len(authority), int(edns))
    records = b"".join(record.encode() for record in (*answers, *authority))
    return head + query.question + records + (opt_record(query.dnssec_ok, rcode) if edns else b"")


def truncated(query: Query, reply: bytes) -> bytes:
    """The reply without records and with the sign that it was too long for a datagram."""
    flags = struct.unpack_from(">H", reply, 2)[0] | TC
    edns = query.edns is not None
    head = HEADER.pack(query.id, flags, 1, 0, 0, int(edns))
    return head + query.question + (opt_record(query.dnssec_ok) if edns else b"")


def error_reply(data: bytes, rcode: int) -> bytes | None:
    """For a query that cannot be parsed; None where even the header is not that of a query."""
    if len(data) < 12 or data[2] & QR >> 8:
        return None
    number, flags = struct.unpack_from(">HH", data)
    return HEADER.pack(number, QR | flags & (OPCODE_MASK | RD) | rcode, 0, 0, 0, 0)
