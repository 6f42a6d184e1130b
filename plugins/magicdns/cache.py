"""Pure: answers of upstream resolvers, kept as bytes; `now` is monotonic seconds.

An answer is given from here with the client's own question, and lifetimes that have gone down. One that ran out may
still be given while no resolver answers (RFC 8767).
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from dataclasses import dataclass, field

from appliance.proto.dns import Query, Reply
from appliance.proto.dns.build import opt_record
from appliance.proto.dns.numbers import AA, AD, CD, NOERROR, NXDOMAIN, QR, RA, RD

MAX_TTL_S = 86_400
MAX_NEGATIVE_S = 3600
NO_SOA_S = 30
"""How long a negative answer without an SOA record is kept."""
FAILURE_S = 2.0
"""How long a failure is kept, so that a client that asks again and again costs nothing (RFC 2308 section 7)."""
STALE_TTL_S = 30
MAX_ENTRY_BYTES = 8192
_HALF = struct.Struct(">H")
_WORD = struct.Struct(">I")

Key = tuple[bytes, bool, bool]
"""Question in lower case, DO, CD."""


def key_of(query: Query) -> Key:
    return query.key, query.dnssec_ok, bool(query.flags & CD)


@dataclass(slots=True)
class Entry:
    """`lifetimes` are offsets and seconds; `private`: it must not be given to hosts of the site."""

    reply: Reply
    stored_at: float
    fresh_until: float
    private: bool = False
    lifetimes: tuple[tuple[int, int], ...] = ()

    def render(self, query: Query, now: float) -> bytes:
        """The reply to this client; records that ran out get a short lifetime."""
        reply = self.reply
        out = bytearray(reply.data)
        flags = QR | RA | query.flags & (RD | CD) | reply.rcode & 0xF | reply.flags & AD & ~AA
        _HALF.pack_into(out, 0, query.id)
        _HALF.pack_into(out, 2, flags)
        end = 12 + len(query.question)
        out[12:end] = query.question
        passed = int(now - self.stored_at)
        stale = now >= self.fresh_until
        for at, ttl in self.lifetimes:
            _WORD.pack_into(out, at, STALE_TTL_S if stale else max(ttl - passed, 0))
        if query.edns is not None:
            _HALF.pack_into(out, 10, _HALF.unpack_from(out, 10)[0] + 1)
            out += opt_record(query.dnssec_ok, reply.rcode)
        return bytes(out)


def lifetime_s(reply: Reply) -> float:
    """How long a reply may be given; 0: not at all."""
    if reply.truncated:
        return 0
    if reply.rcode not in (NOERROR, NXDOMAIN):
        return FAILURE_S
    answers = [record.ttl for record in reply.records if record.section == 0]
    if reply.rcode == NOERROR and answers:
        return min(MAX_TTL_S, *answers) if len(answers) > 1 else min(MAX_TTL_S, answers[0])
    negative = reply.negative_ttl()
    return NO_SOA_S if negative is None else min(MAX_NEGATIVE_S, negative)


def make_entry(reply: Reply, now: float, *, private: bool = False) -> Entry:
    lifetimes = tuple((record.ttl_at, record.ttl) for record in reply.records)
    return Entry(reply, now, now + lifetime_s(reply), private, lifetimes)


@dataclass
class Cache:
    """At most `limit` answers; the one that was not asked for longest goes. `stale_s`: kept after they ran out."""

    limit: int
    stale_s: float
    hits: int = 0
    _entries: OrderedDict[Key, Entry] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._entries)

    def fresh(self, key: Key, now: float) -> Entry | None:
        entry = self._entries.get(key)
        if entry is None or now >= entry.fresh_until:
            return None
        self._entries.move_to_end(key)
        self.hits += 1
        return entry

    def stale(self, key: Key, now: float) -> Entry | None:
        """What ran out but may be given for want of anything better: no failures."""
        entry = self._entries.get(key)
        if entry is None or entry.reply.rcode not in (NOERROR, NXDOMAIN):
            return None
        return entry if now < entry.fresh_until + self.stale_s else None

    def put(self, key: Key, entry: Entry, now: float) -> None:
        """A failure does not drive out an answer that may still be given."""
        if not self.limit or len(entry.reply.data) > MAX_ENTRY_BYTES or entry.fresh_until <= now:
            return
        if entry.reply.rcode not in (NOERROR, NXDOMAIN) and self.stale(key, now) is not None:
            return
        self._entries[key] = entry
        self._entries.move_to_end(key)
        while len(self._entries) > self.limit:
            self._entries.popitem(last=False)

    def resize(self, limit: int, stale_s: float) -> None:
        self.limit, self.stale_s = limit, stale_s
        while len(self._entries) > limit:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        self._entries.clear()
