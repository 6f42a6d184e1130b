"""Queries of clients, with a stock library as the writer."""

from __future__ import annotations

import dns.flags
import dns.message
import pytest

from appliance.proto.dns import parse_query
from appliance.proto.dns.numbers import AAAA, RD
from appliance.types.errors import DecodeError, DecodeReason


def test_ok__question_keeps_its_case() -> None:
    query = parse_query(dns.message.make_query("WwW.ExAmple", "AAAA").to_wire())
    assert (query.name, query.qtype, query.flags) == ("www.example", AAAA, RD)
    assert query.question == b"\x03WwW\x07ExAmple\0\x00\x1c\x00\x01"
    assert query.key == query.question.lower()
    assert query.udp_limit == 512


def test_ok__letters_in_a_type_are_left_alone() -> None:
    query = parse_query(dns.message.make_query("a", 0x4141).to_wire())
    assert query.key.endswith(b"\x41\x41\x00\x01")


def test_ok__edns() -> None:
    query = parse_query(dns.message.make_query("a", "A", use_edns=0, payload=4000, want_dnssec=True).to_wire())
    assert (query.udp_limit, query.dnssec_ok) == (4000, True)
    small = parse_query(dns.message.make_query("a", "A", use_edns=1, payload=100).to_wire())
    assert small.edns is not None
    assert (small.udp_limit, small.edns.version) == (512, 1)


WIRE = dns.message.make_query("www.example", "A", use_edns=0).to_wire()


@pytest.mark.parametrize("length", range(len(WIRE)))
def test_fail__cut_short(length: int) -> None:
    with pytest.raises(DecodeError):
        parse_query(WIRE[:length])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (WIRE[:2] + b"\x80" + WIRE[3:], DecodeReason.BAD_TYPE),
        (WIRE[:2] + b"\x28" + WIRE[3:], DecodeReason.UNEXPECTED),
        (WIRE[:5] + b"\x02" + WIRE[6:], DecodeReason.BAD_LENGTH),
        (WIRE + bytes(5000), DecodeReason.TOO_LONG),
        (WIRE[:12] + b"\xc0\x0c\x00\x01\x00\x01", DecodeReason.BAD_VALUE),
        (WIRE[:11] + b"\x02" + WIRE[12:] + WIRE[-11:], DecodeReason.BAD_VALUE),
    ],
    ids=("reply", "opcode", "two-questions", "long", "pointer", "two-opts"),
)
def test_fail__hostile(data: bytes, reason: DecodeReason) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_query(data)
    assert caught.value.reason is reason
