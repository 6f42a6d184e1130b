"""Replies of resolvers, with a stock library as the writer."""

from __future__ import annotations

from ipaddress import ip_address

import dns.flags
import dns.message
import dns.rrset
import pytest

from appliance.proto.dns import Answer, Reply, build_query, build_reply, parse_query, parse_reply
from appliance.proto.dns.numbers import TXT
from appliance.proto.dns.text import data_text
from appliance.types.errors import DecodeError

SETS = (
    ("www.example.", 60, "CNAME", "web.example."),
    ("web.example.", 30, "A", "192.0.2.1", "192.0.2.2"),
    ("web.example.", 30, "AAAA", "2001:db8::1"),
)


def reply_wire(*sets: tuple[object, ...], edns: bool = True, authority: tuple[object, ...] = ()) -> bytes:
    query = dns.message.make_query("www.example", "A", use_edns=0 if edns else -1)
    reply = dns.message.make_response(query)
    for name, ttl, rtype, *values in sets:
        reply.answer.append(dns.rrset.from_text(str(name), ttl, "IN", rtype, *values))
    if authority:
        name, ttl, rtype, *values = authority
        reply.authority.append(dns.rrset.from_text(str(name), ttl, "IN", rtype, *values))
    return reply.to_wire()


def parsed(*sets: tuple[object, ...], edns: bool = True) -> Reply:
    return parse_reply(reply_wire(*sets, edns=edns))


def test_ok__addresses_and_aliases() -> None:
    reply = parsed(*SETS)
    assert sorted((owner, str(address), ttl) for owner, address, ttl in reply.addresses()) == [
        ("web.example", "192.0.2.1", 30),
        ("web.example", "192.0.2.2", 30),
        ("web.example", "2001:db8::1", 30),
    ]
    assert list(reply.targets()) == [("www.example", "web.example")]
    assert reply.key == parse_query(dns.message.make_query("www.example", "A").to_wire()).key
    assert reply.had_edns


def test_ok__without_its_options_it_is_still_a_message() -> None:
    again = dns.message.from_wire(parsed(*SETS).data)
    assert again.edns == -1
    assert len(again.answer) == 3
    wire = reply_wire(*SETS, edns=False)
    assert parse_reply(wire).data == wire


def test_ok__lifetime_offsets() -> None:
    reply = parsed(*SETS)
    for record in reply.records:
        assert int.from_bytes(reply.data[record.ttl_at : record.ttl_at + 4], "big") == record.ttl


def test_ok__negative() -> None:
    soa = ("example.", 900, "SOA", "ns.example. x.example. 1 2 3 4 300")
    assert parse_reply(reply_wire(authority=soa)).negative_ttl() == 300
    assert parsed().negative_ttl() is None


@pytest.mark.parametrize(
    ("rtype", "value", "shown"),
    [
        ("A", "192.0.2.1", "192.0.2.1"),
        ("AAAA", "2001:db8::1", "2001:db8::1"),
        ("CNAME", "web.example.", "web.example."),
        ("MX", "10 mail.example.", "10 mail.example."),
        ("SRV", "1 2 443 web.example.", "1 2 443 web.example."),
        ("TXT", '"a b" "c\\"d"', '"a b" "c\\034d"'),
        ("SOA", "ns.example. x.example. 1 2 3 4 5", "ns.example. x.example. 1 2 3 4 5"),
        ("CAA", '0 issue "ca"', "\\# 9 000569737375656361"),
    ],
)
def test_ok__text(rtype: str, value: str, shown: str) -> None:
    reply = parsed(("www.example.", 5, rtype, value))
    assert data_text(reply, reply.records[0]) == shown


def test_ok__text_of_broken_data() -> None:
    wire = bytearray(reply_wire(("www.example.", 5, "MX", "10 mail.example."), edns=False))
    wire[-1:] = b""
    wire[-len(b"\x00\x0a\x04mail\xc0") - 1] -= 1
    reply = parse_reply(bytes(wire))
    assert data_text(reply, reply.records[0]).startswith("\\# 8 ")
    assert str(ip_address("192.0.2.1"))


@pytest.mark.parametrize(("raw", "shown"), [(b"", "\\# 0"), (b"\x02ab\x03cd", "\\# 6 026162036364")])
def test_ok__text_of_strings_that_are_cut(raw: bytes, shown: str) -> None:
    query = parse_query(build_query(1, b"\0\0\x10\0\1", dnssec_ok=False, checking_disabled=False))
    reply = parse_reply(build_reply(query, 0, (Answer(TXT, raw, 5),)))
    assert data_text(reply, reply.records[0]) == shown


@pytest.mark.parametrize("length", range(0, len(reply_wire(*SETS)), 3))
def test_fail__cut_short(length: int) -> None:
    with pytest.raises(DecodeError):
        parse_reply(reply_wire(*SETS)[:length])


def test_fail__a_query_is_no_reply() -> None:
    with pytest.raises(DecodeError):
        parse_reply(dns.message.make_query("a", "A").to_wire())


def test_ok__large_lifetimes_count_as_none() -> None:
    wire = bytearray(reply_wire(("www.example.", 5, "A", "192.0.2.1"), edns=False))
    reply = parse_reply(bytes(wire))
    wire[reply.records[0].ttl_at] = 0x80
    assert parse_reply(bytes(wire)).records[0].ttl == 0
