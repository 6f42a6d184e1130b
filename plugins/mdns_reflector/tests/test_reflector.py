"""What goes through, what does not, and that nothing goes round."""

from __future__ import annotations

import random

import pytest

from appliance.proto.dns.numbers import AAAA, ANY, PTR, SRV, TXT, A
from appliance.proto.mdns import Message, Question, Record, encode_messages, name_of, parse_message
from plugins.mdns_reflector.reflector import BURST_BYTES, BYTES_PER_S, ECHO_S, MAX_REMEMBERED, Memory, Reflector
from plugins.mdns_reflector.tests.network import (
    ADDRESS,
    HOST,
    INSTANCE,
    IPP,
    TYPE,
    Mesh,
    announcement,
    question,
    said,
)

ENUMERATION = name_of("_services._dns-sd._udp.local")
CAST = name_of("_googlecast._tcp.local")


def test_ok__question_and_answer_reach_the_other_site() -> None:
    mesh = Mesh({"A": ("a",), "B": ("b",)})
    mesh.speak("A", question(qclass=0x8001))
    assert mesh.heard["B"] == [question()], "without the wish for a unicast answer"
    mesh.speak("B", announcement())
    assert mesh.heard["A"][1:] == [announcement()]
    assert [name for _, name in mesh.reflectors["a"].seen] == [INSTANCE]
    assert not mesh.reflectors["b"].seen, "one's own are not another site's"


def test_ok__nothing_is_reflected_by_default() -> None:
    reflector = Reflector()
    assert reflector.receive_from_lan(question(), "lan0", 1.0) == []
    assert reflector.receive_from_site(announcement(), "b", 1.0) == []
    assert reflector.counters["out_not_chosen"] == reflector.counters["in_not_chosen"] == 1


@pytest.mark.parametrize(
    ("name", "qtype", "goes"),
    [
        (TYPE, PTR, True),
        (name_of("_IPP._TCP.LOCAL"), PTR, True),
        (name_of(f"_color._sub.{IPP}.local"), PTR, True),
        (INSTANCE, SRV, True),
        (INSTANCE, ANY, True),
        (ENUMERATION, PTR, True),
        (ENUMERATION, TXT, False),
        (CAST, PTR, False),
        (HOST, A, False),
        (name_of("10.20.168.192.in-addr.arpa"), PTR, False),
        (name_of(f"{IPP}.example"), PTR, False),
        (b"\0", ANY, False),
    ],
)
def test_ok__questions_of_the_chosen_types_only(name: bytes, qtype: int, goes: bool) -> None:
    assert bool(Reflector((IPP,)).receive_from_lan(question(name, qtype), "lan0", 1.0)) is goes


def test_ok__a_host_is_asked_for_once_a_service_named_it() -> None:
    reflector = Reflector((IPP,))
    assert reflector.receive_from_lan(question(HOST, A), "lan0", 1.0) == []
    reflector.receive_from_site(announcement(), "b", 2.0)
    assert reflector.receive_from_lan(question(HOST, A), "lan0", 4.0)
    assert reflector.receive_from_lan(question(HOST, AAAA), "lan0", 4.0)
    assert reflector.receive_from_lan(question(HOST, A), "lan0", 2.0 + 121) == [], "the record ran out"


def test_ok__records_beside_the_chosen_ones_stay_at_home() -> None:
    extra = (
        Record(CAST, PTR, 1, 120, name_of("TV._googlecast._tcp.local")),
        Record(TYPE, PTR, 1, 120, name_of("TV._googlecast._tcp.local")),
        Record(ENUMERATION, PTR, 1, 120, CAST),
        Record(ENUMERATION, PTR, 1, 120, TYPE),
        Record(name_of("other.local"), A, 1, 120, ADDRESS),
        Record(HOST, A, 1, 120, bytes((169, 254, 1, 1))),
        Record(HOST, AAAA, 1, 120, bytes.fromhex("fe80") + bytes(14)),
        Record(HOST, AAAA, 1, 120, bytes.fromhex("20010db8") + bytes(12)),
        Record(HOST, TXT, 1, 120, b"\x01x"),
        Record(HOST, A, 3, 120, ADDRESS),
    )
    message = parse_message(announcement())
    (datagram,) = encode_messages(Message(True, answers=message.answers, additional=extra))
    passed = said(Reflector((IPP,)).receive_from_lan(datagram, "lan0", 1.0)).answers
    assert passed == (*message.answers, extra[3], extra[7])


def test_ok__two_gateways_on_each_lan_make_no_loop() -> None:
    mesh = Mesh({"A": ("a1", "a2"), "B": ("b1", "b2"), "C": ("c",)}, {"a2": (IPP, "_googlecast._tcp")})
    mesh.speak("A", question())
    mesh.speak("B", announcement())
    assert mesh.heard["A"].count(announcement()) <= 2, "once from each gateway at most"
    assert mesh.heard["B"].count(question()) <= 2
    assert 1 <= mesh.heard["C"].count(announcement()) <= 2
    mesh.now += ECHO_S
    before = len(mesh.heard["B"])
    mesh.speak("A", question())
    assert len(mesh.heard["B"]) > before, "asked again a second later, it goes through again"


@pytest.mark.parametrize("seed", range(20))
def test_ok__whatever_is_said_ends(seed: int) -> None:
    chance = random.Random(seed)
    mesh = Mesh({"A": ("a1", "a2"), "B": ("b1", "b2"), "C": ("c1", "c2")}, {"b1": (IPP, "_googlecast._tcp")})
    messages = [question(), question(INSTANCE, SRV), announcement(), announcement(0), question(CAST)]
    for _ in range(12):
        mesh.speak(chance.choice("ABC"), chance.choice(messages))
        mesh.now += chance.choice((0.0, 0.1, 0.5, 1.0))
    assert sum(map(len, mesh.heard.values())) < 12 * 6


def test_ok__one_message_by_both_ip_versions_goes_once() -> None:
    reflector = Reflector((IPP,))
    assert len(reflector.receive_from_lan(question(), "lan0", 1.0)) == 1
    assert reflector.receive_from_lan(question(), "lan0", 1.01) == []
    assert len(reflector.receive_from_lan(question(), "lan0", 2.01)) == 1


def test_ok__service_that_goes_is_forgotten() -> None:
    reflector = Reflector((IPP,))
    reflector.receive_from_site(announcement(), "b", 1.0)
    assert list(reflector.seen) == [("b", INSTANCE)]
    assert reflector.receive_from_site(announcement(ttl=0), "b", 1.1), "taken back at once, it goes through"
    assert not reflector.seen
    reflector.receive_from_site(announcement(), "b", 5.0)
    reflector.forget(["b"])
    assert not reflector.seen


def test_fail__flood_is_held_and_takes_nothing_from_others() -> None:
    reflector = Reflector((IPP,))
    sent = 0
    for number in range(20_000):
        asked = question(name_of(f"p{number}.{IPP}.local"), SRV)
        sent += sum(map(len, reflector.receive_from_lan(asked, "lan0", 1.0)))
    assert sent <= BURST_BYTES
    assert reflector.counters["out_too_many"] > 10_000
    assert reflector.receive_from_lan(question(), "lan1", 1.0), "another LAN has its own bound"
    assert reflector.receive_from_site(announcement(), "b", 1.0)
    later = 1.0 + 1000 / BYTES_PER_S
    assert reflector.receive_from_lan(question(INSTANCE, TXT), "lan0", later), "it comes back with time"


def test_fail__compression_does_not_multiply_the_bound() -> None:
    """Short on the wire, long when written: each byte that goes out was paid for."""
    name = b"\x3f" + b"a" * 63 + b"\x04_ipp\x04_tcp\x05local\0"
    head = b"\0\0\x84\0\0\0\0\x50" + bytes(4)
    fixed = b"\0\x10\0\x01\0\0\0\x78\0\x03\x02"
    reflector, sent = Reflector((IPP,)), 0
    for number in range(60):
        records = [(name if not n else b"\xc0\x0c") + fixed + bytes((number, n)) for n in range(80)]
        message = head + b"".join(records)
        assert len(message) * 60 < BURST_BYTES, "what comes in alone would pass"
        sent += sum(map(len, reflector.receive_from_lan(message, "lan0", 1.0)))
    assert BURST_BYTES // 2 < sent <= BURST_BYTES


def test_fail__malformed_is_counted() -> None:
    reflector = Reflector((IPP,))
    assert reflector.receive_from_site(b"\xff" * 40, "b", 1.0) == []
    assert reflector.receive_from_lan(b"", "lan0", 1.0) == []
    assert (reflector.counters["in_malformed"], reflector.counters["out_malformed"]) == (1, 1)


def test_ok__memory_is_bounded() -> None:
    memory = Memory()
    for number in range(2 * MAX_REMEMBERED):
        memory.note(number.to_bytes(4, "big"), 1.0)
    assert memory.since((0).to_bytes(4, "big"), 1.0) == float("inf")
    assert memory.since((2 * MAX_REMEMBERED - 1).to_bytes(4, "big"), 1.5) == 0.5


def test_ok__known_answers_go_with_their_question_only() -> None:
    known = (Record(TYPE, PTR, 1, 4000, INSTANCE),)
    (alone,) = encode_messages(Message(False, questions=(Question(CAST, PTR, 1),), answers=known))
    assert Reflector((IPP,)).receive_from_lan(alone, "lan0", 1.0) == []
    (asked,) = encode_messages(Message(False, questions=(Question(TYPE, PTR, 1),), answers=known))
    assert said(Reflector((IPP,)).receive_from_lan(asked, "lan0", 1.0)).answers == known
