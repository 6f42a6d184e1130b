"""A message of multicast DNS (RFC 6762 section 18), taken apart whole and written without compression.

| Offset | Bytes | Meaning (big-endian) |
|---|---|---|
| 0 | 2 | id; 0 in multicast |
| 2 | 2 | flags; opcode and response code must be 0 |
| 4 | 8 | counts: questions, answers (in a query: known ones), authority (in a query: what is probed for), additional |

A question's class has in its highest bit whether a unicast reply is wanted (section 5.4), a record's whether it
replaces what caches hold (section 10.2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from appliance.proto.dns.numbers import AAAA, CNAME, PTR, QR, SRV, TC, A
from appliance.proto.mdns.names import Name, expand_name
from appliance.types.errors import DecodeError, DecodeReason

PORT = 5353
GROUP_V4, GROUP_V6 = "224.0.0.251", "ff02::fb"
MAX_MESSAGE = 9000
"""RFC 6762 section 17."""
MAX_DATAGRAM = 1200
"""What we write at most: it passes the tunnel and every link whole."""
MAX_ENTRIES = 256
NSEC = 47
TOP_BIT = 0x8000
_HEADER = struct.Struct(">HHHHHH")
_QUESTION = struct.Struct(">HH")
_RECORD = struct.Struct(">HHIH")
_AUTHORITATIVE = 0x0400
_REFUSED_FLAGS = 0x780F
"""Opcode and response code (sections 18.3 and 18.11)."""
_SRV_FIXED = 6
_ADDRESS_SIZES = {A: 4, AAAA: 16}


@dataclass(frozen=True, slots=True)
class Question:
    name: Name
    qtype: int
    qclass: int

    def encode(self) -> bytes:
        return self.name + _QUESTION.pack(self.qtype, self.qclass)


@dataclass(frozen=True, slots=True)
class Record:
    """`data` is on the wire, its names uncompressed; `ttl` in seconds, 0: the record is taken back."""

    name: Name
    rtype: int
    rclass: int
    ttl: int
    data: bytes

    def encode(self) -> bytes:
        return self.name + _RECORD.pack(self.rtype, self.rclass, self.ttl, len(self.data)) + self.data

    @property
    def target(self) -> Name:
        """The name that a PTR or SRV record points to."""
        return self.data[_SRV_FIXED:] if self.rtype == SRV else self.data


Entry = TypeVar("Entry", Question, Record)


@dataclass(frozen=True, slots=True)
class Message:
    """`truncated`: more known answers follow in another message."""

    is_reply: bool
    truncated: bool = False
    questions: tuple[Question, ...] = ()
    answers: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it tells or asks nothing; known answers alone do neither."""
        return not (self.questions or (self.is_reply and (self.answers or self.additional)))


def parse_message(data: bytes) -> Message:
    """Records whose content cannot be understood are left out. Raises `DecodeError`.

    Compression may not make a message longer than the longest that may be sent.
    """
    if len(data) < _HEADER.size:
        raise DecodeError(DecodeReason.TOO_SHORT, "mDNS message")
    if len(data) > MAX_MESSAGE:
        raise DecodeError(DecodeReason.TOO_LONG, "mDNS message")
    _, flags, *counts = _HEADER.unpack_from(data)
    if flags & _REFUSED_FLAGS:
        raise DecodeError(DecodeReason.UNEXPECTED, "opcode or response code")
    if sum(counts) > MAX_ENTRIES:
        raise DecodeError(DecodeReason.TOO_LONG, "sections")
    reader = _Reader(data)
    questions = tuple(reader.question() for _ in range(counts[0]))
    sections = [tuple(filter(None, [reader.record() for _ in range(count)])) for count in counts[1:]]
    return Message(bool(flags & QR), bool(flags & TC), questions, *sections)


class _Reader:
    """Reads entries one after the other; counts what they are without compression."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = _HEADER.size
        self._size = _HEADER.size

    def question(self) -> Question:
        name = self._name()
        return Question(name, *self._fixed(_QUESTION))

    def record(self) -> Record | None:
        name = self._name()
        rtype, rclass, ttl, length = self._fixed(_RECORD)
        start, end = self._at, self._at + length
        if end > len(self._data):
            raise DecodeError(DecodeReason.TOO_SHORT, "record")
        self._at = end
        content = self._content(rtype, start, end)
        if content is None:
            return None
        self._grow(len(content))
        return Record(name, rtype, rclass, ttl, content)

    def _content(self, rtype: int, start: int, end: int) -> bytes | None:
        """Uncompressed; None where it is not as its type demands."""
        if rtype in (PTR, CNAME, SRV):
            at = start + (_SRV_FIXED if rtype == SRV else 0)
            if at >= end:
                return None
            target, after = expand_name(self._data, at)
            return self._data[start:at] + target if after == end else None
        if rtype == NSEC:
            owner, after = expand_name(self._data, start)
            return owner + self._data[after:end] if after < end else None
        if rtype in _ADDRESS_SIZES and end - start != _ADDRESS_SIZES[rtype]:
            return None
        return self._data[start:end]

    def _name(self) -> Name:
        name, self._at = expand_name(self._data, self._at)
        self._grow(len(name))
        return name

    def _fixed(self, form: struct.Struct) -> tuple[int, ...]:
        if self._at + form.size > len(self._data):
            raise DecodeError(DecodeReason.TOO_SHORT, "entry")
        values: tuple[int, ...] = form.unpack_from(self._data, self._at)
        self._at += form.size
        self._grow(form.size)
        return values

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > MAX_MESSAGE:
            raise DecodeError(DecodeReason.TOO_LONG, "mDNS message without compression")


def encode_messages(message: Message) -> list[bytes]:
    """Datagrams of at most `MAX_DATAGRAM` bytes; an entry that does not fit in one alone is left out.

    A reply is spread over several. Of a query the known answers that do not fit are left out: it is answered once
    more. What is probed for always goes with its question.
    """
    if message.is_reply:
        return [_reply(group) for group in _grouped((*message.answers, *message.authority, *message.additional))]
    found: list[bytes] = []
    for questions in _grouped(message.questions):
        named = {question.name.lower() for question in questions}
        probed = tuple(record for record in message.authority if record.name.lower() in named)
        found += _query(replace(message, questions=tuple(questions), authority=probed))
    return found


def _reply(records: list[Record]) -> bytes:
    head = _HEADER.pack(0, QR | _AUTHORITATIVE, 0, len(records), 0, 0)
    return head + b"".join(record.encode() for record in records)


def _query(message: Message) -> Iterator[bytes]:
    fixed = b"".join(each.encode() for each in message.questions)
    probed = b"".join(each.encode() for each in message.authority)
    room = MAX_DATAGRAM - _HEADER.size - len(fixed) - len(probed)
    if room < 0:
        return
    known: list[bytes] = []
    for record in message.answers:
        raw = record.encode()
        if len(raw) <= room:
            known.append(raw)
            room -= len(raw)
    head = _HEADER.pack(0, 0, len(message.questions), len(known), len(message.authority), 0)
    yield head + fixed + b"".join(known) + probed


def _grouped(entries: Iterable[Entry]) -> list[list[Entry]]:
    """As many as fit into a datagram together; one that fits nowhere is left out."""
    groups: list[list[Entry]] = []
    room = 0
    for entry in entries:
        size = len(entry.encode())
        if size > MAX_DATAGRAM - _HEADER.size:
            continue
        if size > room:
            groups.append([])
            room = MAX_DATAGRAM - _HEADER.size
        groups[-1].append(entry)
        room -= size
    return groups
