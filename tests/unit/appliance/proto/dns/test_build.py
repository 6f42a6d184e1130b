"""What we write, with a stock library as the reader."""

from __future__ import annotations

import dns.flags
import dns.message
import pytest

from appliance.proto.dns import Answer, build_query, build_reply, encode_name, error_reply, parse_query, truncated
from appliance.proto.dns.numbers import AAAA, BADVERS, CNAME, FORMERR, NOERROR, NXDOMAIN, SOA, A, type_name, type_number

PLAIN = parse_query(dns.message.make_query("Web.Example", "A").to_wire())
EDNS = parse_query(dns.message.make_query("Web.Example", "A", use_edns=0, want_dnssec=True).to_wire())


def test_ok__reply() -> None:
    answers = [Answer(CNAME, encode_name("b.example"), 7), Answer(A, bytes([192, 0, 2, 1]), 9, "b.example")]
    read = dns.message.from_wire(build_reply(PLAIN, NOERROR, answers))
    assert read.question[0].name.to_text() == "Web.Example."
    assert [rrset.to_text() for rrset in read.answer] == [
        "Web.Example. 7 IN CNAME b.example.",
        "b.example. 9 IN A 192.0.2.1",
    ]
    assert read.flags & dns.flags.AA
    assert read.flags & dns.flags.RA
    assert read.edns == -1
    assert read.id == PLAIN.id


def test_ok__negative_reply_with_edns() -> None:
    soa = Answer(SOA, encode_name("example") * 2 + bytes(20), 10, "example")
    read = dns.message.from_wire(build_reply(EDNS, NXDOMAIN, (), (soa,)))
    assert (read.rcode(), len(read.authority), read.edns) == (NXDOMAIN, 1, 0)
    assert read.ednsflags & dns.flags.DO
    assert dns.message.from_wire(build_reply(EDNS, BADVERS)).rcode() == BADVERS


def test_ok__truncated() -> None:
    reply = build_reply(EDNS, NOERROR, [Answer(AAAA, bytes(16), 9)] * 100)
    read = dns.message.from_wire(truncated(EDNS, reply))
    assert read.flags & dns.flags.TC
    assert not read.answer
    assert read.edns == 0


@pytest.mark.parametrize("edns", [True, False])
def test_ok__query(edns: bool) -> None:
    read = dns.message.from_wire(build_query(7, EDNS.question, dnssec_ok=True, checking_disabled=True, edns=edns))
    assert (read.id, read.edns, read.question[0].name.to_text()) == (7, 0 if edns else -1, "Web.Example.")
    assert read.flags & dns.flags.CD


def test_ok__reply_to_what_is_no_query() -> None:
    wire = dns.message.make_query("a", "A").to_wire()
    reply = error_reply(wire[:13], FORMERR)
    assert reply is not None
    assert dns.message.from_wire(reply).rcode() == FORMERR
    assert error_reply(wire[:11], FORMERR) is None
    assert error_reply(wire[:2] + b"\x80" + wire[3:], FORMERR) is None, "two programs could answer each other for ever"


def test_ok__types() -> None:
    assert type_number("aaaa") == AAAA
    assert type_number("TYPE65280") == 65280
    assert type_number("TYPE70000") is None
    assert type_number("nonsense") is None
    assert type_name(65280) == "TYPE65280"
    assert type_name(1) == "A"
