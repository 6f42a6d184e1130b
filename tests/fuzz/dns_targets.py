"""DNS: questions of anybody on the LAN, answers of any resolver, and what a resolver sends over TLS."""

from __future__ import annotations

import asyncio
import ssl
import struct
from contextlib import suppress

from appliance.proto.dns import (
    Answer,
    Query,
    build_query,
    build_reply,
    encode_name,
    error_reply,
    parse_query,
    parse_reply,
    truncated,
)
from appliance.proto.dns.numbers import AAAA, CNAME, IN, NOERROR, NXDOMAIN, PTR, SOA, SRV, TXT, A
from appliance.proto.dns.text import data_text
from appliance.types.errors import DecodeError
from plugins.magicdns.cache import make_entry
from plugins.magicdns.doh import MIN_BYTES
from plugins.magicdns.dot import _Connection
from plugins.magicdns.errors import UpstreamError
from plugins.magicdns.rebind import rebinds
from plugins.magicdns.tests.wire import Wire
from plugins.magicdns.upstream import Kind, Upstream
from tests.fuzz.runner import Target

LATER_S = 40.0
HOST = encode_name("www.example")
NAMES = (b"\3www\7example\0", b"\xc0\x0c", b"\0\0\x29\4\xd0\0\0\x80\0\0\0", b"\4_ipp\4_tcp\0")


def question(qtype: int) -> bytes:
    return HOST + struct.pack(">HH", qtype, IN)


def query(qtype: int, *, edns: bool = True) -> bytes:
    return build_query(7, question(qtype), dnssec_ok=True, checking_disabled=False, edns=edns)


def reply(qtype: int, rcode: int, *answers: Answer, authority: tuple[Answer, ...] = ()) -> bytes:
    return build_reply(parse_query(query(qtype)), rcode, answers, authority)


SOA_DATA = encode_name("ns.example") + encode_name("x.example") + struct.pack(">IIIII", 1, 2, 3, 4, 30)
REPLIES = [
    reply(A, NOERROR, Answer(CNAME, b"\3cdn\xc0\x10", 60), Answer(A, bytes([192, 0, 2, 1]), 60, "cdn.example")),
    reply(AAAA, NOERROR, Answer(AAAA, bytes(15) + b"\1", 2**31)),
    reply(PTR, NOERROR, Answer(PTR, HOST, 5)),
    reply(SRV, NOERROR, Answer(SRV, struct.pack(">HHH", 1, 2, 3) + HOST, 5), Answer(TXT, b'\4a"\\\0\1b', 5)),
    reply(A, NXDOMAIN, authority=(Answer(SOA, SOA_DATA, 900, "example"),)),
]


def run_question(data: bytes) -> None:
    """What is answered has the question as it came, and fits what parsers expect."""
    refused = error_reply(data, 1)
    assert refused is None or parse_reply(refused).rcode == 1
    try:
        asked = parse_query(data)
    except DecodeError:
        return
    assert parse_query(build_query(asked.id, asked.question, dnssec_ok=False, checking_disabled=True)).key == asked.key
    with suppress(DecodeError):  # a name in the wire form need not have one as text
        assert asked.name == asked.name.lower()
    answer = build_reply(asked, NOERROR, (Answer(A, bytes(4), 60),))
    for sent in (answer, truncated(asked, answer)):
        assert sent[12 : 12 + len(asked.question)] == asked.question
        assert (parse_reply(sent).id, parse_reply(sent).key) == (asked.id, asked.key)


def run_answer(data: bytes) -> None:
    """An answer that is taken is given on whole, now and later."""
    try:
        found = parse_reply(data)
    except DecodeError:
        return
    for record in found.records:
        assert data_text(found, record)
    [*found.addresses(), *found.targets(), *found.targets(PTR)]
    rebinds(found, "www.example", ("lan",))
    minimum = found.negative_ttl()
    assert minimum is None or minimum >= 0
    if not found.key:
        return
    qtype, qclass = struct.unpack(">HH", found.key[-4:])
    asked = Query(9, 0x100, found.key, found.key, qtype, qclass)
    entry = make_entry(found, 1.0)
    given = parse_reply(entry.render(asked, 1.0))
    assert (given.id, given.key) == (9, found.key)
    assert [record.rtype for record in given.records] == [record.rtype for record in found.records]
    for moment in (1.0 + LATER_S, entry.fresh_until + 1):  # names may lead into lifetimes, if a resolver is mad
        assert len(entry.render(asked, moment)) == len(found.data)


def run_stream(data: bytes) -> None:
    """Questions are on their way; each ends with the connection at the latest."""
    LOOP.run(_receive(data))


async def _receive(data: bytes) -> None:
    connection, wire = _Connection(Upstream(Kind.TLS, "", 853, "dns.example"), CONTEXT), Wire()
    connection.connection_made(wire)
    middle = len(data) // 2
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        for _ in REPLIES:
            group.create_task(_ask(connection))
        await asyncio.sleep(0)
        for part in (data[:middle], data[middle:]):
            if not wire.cut:
                connection.data_received(part)
        connection.connection_lost(None)


async def _ask(connection: _Connection) -> None:
    with suppress(UpstreamError):
        assert len(await connection.post(query(A))) >= MIN_BYTES


LOOP = asyncio.Runner()
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
FRAMES = [b"".join(struct.pack(">HH", len(each), number) + each[2:] for number, each in enumerate(REPLIES))]

TARGETS = (
    Target("dns-question", run_question, [query(A), query(AAAA, edns=False)], ("appliance/proto/dns",), NAMES),
    Target("dns-answer", run_answer, REPLIES, ("appliance/proto/dns", "plugins/magicdns"), NAMES),
    Target("dns-stream", run_stream, FRAMES, ("plugins/magicdns",)),
)
