from __future__ import annotations

from appliance.proto.stun import encode_request, encode_train_request, parse_response
from appliance.types.addresses import AddrPort
from control.stun.answers import FOREIGN_BURST, FOREIGN_RATE, Answers

TX = bytes(range(12))
FOREIGN = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + TX
SOURCE = AddrPort("2001:db8::7", 51820)


def test_ok__nodes_as_often_as_they_ask() -> None:
    answers = Answers(bytes(32))
    for _ in range(1000):
        found = answers.answer(encode_request(TX), SOURCE, 100.0)
        assert found is not None
        assert (parse_response(found[0]).mapped, found[1]) == (SOURCE, 1)


def test_ok__others_a_few_a_second() -> None:
    answers = Answers(bytes(32))
    got = [answers.answer(FOREIGN, SOURCE, 100.0 + number / 1000) for number in range(10_000)]
    assert FOREIGN_BURST < sum(found is not None for found in got) <= FOREIGN_BURST + 10 * FOREIGN_RATE
    assert answers.ignored == {"foreign_rate": got.count(None)}


def test_ok__ticket_then_train() -> None:
    answers = Answers(bytes(32))
    given = answers.answer(encode_train_request(TX), SOURCE, 100.0)
    assert given is not None
    request = encode_train_request(TX, parse_response(given[0]).ticket, 64)
    train = answers.answer(request, SOURCE, 100.1)
    assert train is not None
    assert train[1] == 64
    assert answers.answer(request, SOURCE, 100.2) is None
    assert answers.ignored == {"train_refused": 1}


def test_fail__what_is_refused_is_counted_by_reason() -> None:
    answers = Answers(bytes(32))
    for data in (b"", FOREIGN + b"x", bytes(64), FOREIGN[:1] + b"\x02" + FOREIGN[2:]):
        assert answers.answer(data, SOURCE, 100.0) is None
    assert answers.ignored == {"too_short": 1, "bad_length": 1, "bad_magic": 1, "bad_type": 1}
