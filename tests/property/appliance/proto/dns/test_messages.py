"""DNS messages: no bytes make a parser raise anything but its own error, and a stock library reads them alike."""

from __future__ import annotations

from contextlib import suppress

import dns.exception
import dns.message
import dns.name
import dns.rdata
import dns.rdatatype
import dns.rrset
from hypothesis import given
from hypothesis import strategies as st

from appliance.proto.dns import encode_name, parse_query, parse_reply
from appliance.proto.dns.text import data_text
from appliance.types.errors import DecodeError

LABELS = st.lists(st.from_regex(r"[a-zA-Z0-9_-]{1,20}", fullmatch=True), min_size=1, max_size=6)
ADDRESSES = st.lists(st.ip_addresses(v=4).map(str), min_size=1, max_size=5, unique=True)


@given(LABELS, st.integers(0, 65535), st.booleans())
def test_ok__queries(labels: list[str], qtype: int, edns: bool) -> None:
    name = ".".join(labels)
    wire = dns.message.make_query(name, qtype, use_edns=0 if edns else -1).to_wire()
    query = parse_query(wire)
    assert query.name == name.lower()
    assert query.qtype == qtype
    assert (query.edns is not None) == edns
    assert query.question[:-4] == encode_name(name)


@given(LABELS, ADDRESSES, st.integers(0, 1 << 31), st.booleans())
def test_ok__replies(labels: list[str], addresses: list[str], ttl: int, edns: bool) -> None:
    name = ".".join(labels)
    reply = dns.message.make_response(dns.message.make_query(name, "A", use_edns=0 if edns else -1))
    reply.answer.append(dns.rrset.from_text(name + ".", min(ttl, 0x7FFFFFFF), "IN", "A", *addresses))
    read = parse_reply(reply.to_wire())
    assert {str(address) for _, address, _ in read.addresses()} == set(addresses)
    assert {owner for owner, _, _ in read.addresses()} == {name.lower()}
    assert dns.message.from_wire(read.data).answer == reply.answer


@given(st.binary(max_size=200), st.binary(max_size=120))
def test_ok__any_bytes(data: bytes, tail: bytes) -> None:
    for parse in (parse_query, parse_reply):
        for candidate in (data, data[:2] + b"\x81\x80\x00\x01\x00\x03\x00\x01\x00\x01" + tail):
            with suppress(DecodeError):
                parsed = parse(candidate)
                assert len(parsed.key) <= 259


@given(st.data())
def test_ok__mutated_replies_agree_with_a_stock_reader(data: st.DataObject) -> None:
    reply = dns.message.make_response(dns.message.make_query("www.example", "A", use_edns=0))
    reply.answer.append(dns.rrset.from_text("www.example.", 60, "IN", "CNAME", "web.example."))
    reply.answer.append(dns.rrset.from_text("web.example.", 60, "IN", "A", "192.0.2.1"))
    wire = bytearray(reply.to_wire())
    for _ in range(data.draw(st.integers(1, 3))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = parse_reply(bytes(wire))
    except DecodeError:
        return
    for record in read.records:
        data_text(read, record)
    try:
        stock = dns.message.from_wire(bytes(wire), ignore_trailing=True, one_rr_per_rrset=True)
    except (dns.exception.DNSException, ValueError):
        return
    if len(stock.question) != 1 or stock.opcode() != 0:
        return
    theirs = [rdata.address for rrset in stock.answer if rrset.rdtype == 1 and rrset.rdclass == 1 for rdata in rrset]
    assert [str(address) for _, address, _ in read.addresses() if address.version == 4] == theirs
