"""Multicast DNS messages. dnspython writes what we read, and reads what we write."""

from __future__ import annotations

import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.proto.dns.numbers import PTR, SRV, A
from appliance.proto.mdns import (
    MAX_DATAGRAM,
    Message,
    Question,
    Record,
    encode_messages,
    name_of,
    parse_message,
    text_of,
)
from appliance.proto.mdns.message import NSEC
from appliance.proto.mdns.names import labels_of
from appliance.types.errors import DecodeError

INSTANCE = b"\x18B\xc3\xbcro 2 (3. floor) Color\x04_ipp\x04_tcp\x05local\0"
RECORDS = """_ipp._tcp.local. 4500 IN PTR Printer._ipp._tcp.local.
Printer._ipp._tcp.local. 120 IN SRV 0 0 631 host-b.local.
Printer._ipp._tcp.local. 4500 IN TXT "ty=Laser" "rp=ipp/print"
host-b.local. 120 IN A 192.168.20.10
host-b.local. 120 IN AAAA 2001:db8:20::10
host-b.local. 120 IN NSEC host-b.local. A AAAA"""


def reply(text: str = RECORDS) -> bytes:
    message = dns.message.make_response(dns.message.make_query("x.local", "A"))
    message.question = []
    message.flags |= dns.flags.AA
    message.id = 0
    for line in text.splitlines():
        name, ttl, rclass, rtype, data = line.split(maxsplit=4)
        message.answer.append(dns.rrset.from_text(name, int(ttl), rclass, rtype, data))
    return message.to_wire()


def test_ok__compressed_reply_is_read_whole_and_written_plain() -> None:
    message = parse_message(reply())
    assert message.is_reply
    assert [record.rtype for record in message.answers] == [PTR, SRV, 16, A, 28, NSEC]
    assert text_of(message.answers[1].target) == "host-b.local"
    (datagram,) = encode_messages(message)
    assert b"\xc0" not in datagram.replace(bytes((192, 168, 20, 10)), b"")
    again = dns.message.from_wire(datagram)
    assert {str(rrset) for rrset in again.answer} == {str(rrset) for rrset in dns.message.from_wire(reply()).answer}
    assert parse_message(datagram) == message


def test_ok__query_keeps_known_answers_and_probes() -> None:
    asked = Question(name_of("_ipp._tcp.local"), PTR, 0x8001)
    known = Record(name_of("_ipp._tcp.local"), PTR, 1, 4000, INSTANCE)
    probe = Record(name_of("_IPP._tcp.local"), SRV, 1, 120, bytes(6) + name_of("host-b.local"))
    message = Message(False, questions=(asked,), answers=(known,), authority=(probe,))
    (datagram,) = encode_messages(message)
    assert parse_message(datagram) == message
    assert text_of(INSTANCE) == "Büro 2 (3. floor) Color._ipp._tcp.local"
    assert labels_of(INSTANCE)[0] == b"b\xc3\xbcro 2 (3. floor) color"


def test_ok__much_is_spread_over_datagrams_that_pass_everywhere() -> None:
    records = tuple(Record(name_of(f"h{n}.local"), 16, 1, 120, bytes(300)) for n in range(20))
    huge = Record(name_of("huge.local"), 16, 1, 120, bytes(MAX_DATAGRAM))
    datagrams = encode_messages(Message(True, answers=(*records, huge)))
    assert len(datagrams) > 5
    assert max(map(len, datagrams)) <= MAX_DATAGRAM
    found = [record for datagram in datagrams for record in parse_message(datagram).answers]
    assert tuple(found) == records, "what fits nowhere is left out"
    query = Message(False, questions=(Question(name_of("a.local"), A, 1),), answers=records)
    (datagram,) = encode_messages(query)
    assert 0 < len(parse_message(datagram).answers) < len(records), "known answers are left out: one is asked again"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(11),
        bytes(9001),
        b"\0\0\x28\0" + bytes(8),  # another opcode
        b"\0\0\x80\x03" + bytes(8),  # a response code
        b"\0\0\0\0\xff\xff" + bytes(6),  # more entries than there may be
        b"\0\0\0\0\0\x01" + bytes(6) + b"\xc0\x0c\0\x01\0\x01",  # a name that points to itself
        b"\0\0\0\0\0\x01" + bytes(6) + b"\x40" + bytes(80),  # a label type that is none
        reply()[:-1],
    ],
)
def test_fail__malformed(data: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_message(data)


def test_fail__compression_that_swells() -> None:
    """One name of 250 bytes, then 200 records that point to it: 3 KB that would become 50."""
    long = b"".join(b"\x30" + bytes(48) for _ in range(5)) + b"\0"
    head = b"\0\0\x84\0\0\x01" + (200).to_bytes(2, "big") + bytes(4)
    records = (b"\xc0\x0c" + b"\0\x0c\0\x01\0\0\0\x78\0\x02\xc0\x0c") * 200
    with pytest.raises(DecodeError, match="without compression"):
        parse_message(head + long + b"\0\x0c\0\x01" + records)


def test_ok__record_with_wrong_content_is_left_out() -> None:
    head = b"\0\0\x84\0\0\0\0\x04" + bytes(4)
    fixed = b"\0\x01\0\0\0\x78"
    wrong = (
        b"\x01h\0\0\x01" + fixed + b"\0\x03\x01\x02\x03",  # an address of three bytes
        b"\x01h\0\0\x0c" + fixed + b"\0\x04\x01a\0\0",  # a name with a byte behind it
        b"\x01h\0\0\x21" + fixed + b"\0\x04\0\0\0\0",  # a service without its host
        b"\x01h\0\0\x01" + fixed + b"\0\x04\xc0\0\x02\x01",
    )
    assert [record.data for record in parse_message(head + b"".join(wrong)).answers] == [b"\xc0\0\x02\x01"]


NAMES = st.lists(st.binary(min_size=1, max_size=63), max_size=3).map(
    lambda labels: b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
)
TTLS = st.integers(0, 2**32 - 1)
ENTRIES = st.builds(Record, NAMES, st.just(16), st.integers(0, 65535), TTLS, st.binary(max_size=90))


@given(st.builds(Message, st.just(True), answers=st.lists(ENTRIES, max_size=8).map(tuple)))
def test_ok__what_we_write_we_read(message: Message) -> None:
    found = [record for datagram in encode_messages(message) for record in parse_message(datagram).answers]
    assert tuple(found) == message.answers


@given(st.binary(max_size=600))
def test_ok__any_bytes_are_read_or_refused(data: bytes) -> None:
    for whole in (data, b"\0\0\x84\0\0\x01\0\x02\0\0\0\0" + data):
        try:
            encode_messages(parse_message(whole))
        except DecodeError:
            continue
