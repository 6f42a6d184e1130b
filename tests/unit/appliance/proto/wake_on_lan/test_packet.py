"""The magic packet and what nodes say about it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.proto.wake_on_lan import encode_answer, magic_packet, normal_mac, parse_answer, parse_magic_packet
from appliance.types.errors import DecodeError
from appliance.types.wake import WakeReport

MAC = "00:1a:2b:3c:4d:5e"


@pytest.mark.parametrize("text", [MAC, "00:1A:2B:3C:4D:5E", "00-1a-2b-3c-4d-5e", "001a.2b3c.4d5e", " 001A2B3C4D5E "])
def test_ok__every_usual_form(text: str) -> None:
    assert normal_mac(text) == MAC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nas",
        "00:1a:2b:3c:4d",
        "00:1a:2b:3c:4d:5e:6f",
        "00:1a-2b:3c-4d:5e",
        "0:01a:2b:3c:4d:5e",
        "00:1a:2b:3c:4d:5g",
        "00:00:00:00:00:00",
        "ff:ff:ff:ff:ff:ff",
        "01:00:5e:00:00:fb",
        "٠٠:1a:2b:3c:4d:5e",
        "0" * 10_000,
    ],
)
def test_fail__what_is_no_card(text: str) -> None:
    with pytest.raises(DecodeError):
        normal_mac(text)


def test_ok__packet_as_cards_look_for_it() -> None:
    packet = magic_packet(MAC)
    assert len(packet) == 102
    assert packet == bytes.fromhex("ff" * 6 + "001a2b3c4d5e" * 16)
    assert parse_magic_packet(packet) == MAC


@pytest.mark.parametrize("data", [b"", bytes(102), magic_packet(MAC)[:-1], magic_packet(MAC)[:-1] + b"\0"])
def test_fail__other_datagrams(data: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_magic_packet(data)


@given(st.binary(max_size=300))
def test_ok__any_bytes_are_read_or_refused(data: bytes) -> None:
    for parse in (parse_magic_packet, parse_answer):
        try:
            parse(data)
        except DecodeError:
            continue


def test_ok__answer_as_stock_clients_write_it() -> None:
    assert encode_answer(WakeReport(("eth0",))) == b'{"SentTo":["eth0"],"Errors":null}'
    assert parse_answer(b'{"SentTo":null,"Errors":["eth1: down"],"More":1}') == WakeReport((), ("eth1: down",))
    for report in (WakeReport(), WakeReport(("a", "b"), ("c",))):
        assert parse_answer(encode_answer(report)) == report
