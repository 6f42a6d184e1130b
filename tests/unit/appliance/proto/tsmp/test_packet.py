"""TSMP against its vectors."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path

import pytest

from appliance.proto.tsmp import (
    PROTOCOL,
    DiscoAdvertisement,
    Packet,
    Ping,
    Pong,
    Rejected,
    RejectReason,
    encode_message,
    encode_packet,
    parse_message,
    parse_packet,
)
from appliance.types.errors import DecodeError, DecodeReason
from appliance.types.keys import DiscoPublicKey

VECTORS = json.loads((Path(__file__).parents[4] / "vectors/tsmp/packets.json").read_text())
KEY = DiscoPublicKey(b"a" * 32)
MESSAGES = {
    "ping": Ping(bytes(range(1, 9))),
    "pong with peer API port 58436": Pong(bytes(range(1, 9)), 58436),
    "TCP flow 1234 -> 443 refused by the ACL": Rejected(6, RejectReason.ACL, 1234, 443),
    "the same, the host may be broken": Rejected(6, RejectReason.ACL, 1234, 443, maybe_broken=True),
}


def packet(entry: dict[str, str]) -> Packet:
    return Packet(ip_address(entry["source"]), ip_address(entry["destination"]), DiscoAdvertisement(KEY))


@pytest.mark.parametrize("entry", VECTORS["packets"], ids=lambda entry: entry["name"])
def test_ok__advertisement_as_in_the_vector(entry: dict[str, str]) -> None:
    data = bytes.fromhex(entry["packet"])
    assert encode_packet(packet(entry)) == data
    assert parse_packet(data) == packet(entry)


@pytest.mark.parametrize("entry", VECTORS["headers"], ids=lambda entry: entry["name"])
def test_ok__ipv6_header_starts_as_in_the_vector(entry: dict[str, str]) -> None:
    data = encode_packet(packet(entry))
    assert data[:8].hex() == entry["header"]
    assert parse_packet(data) == packet(entry)


@pytest.mark.parametrize("entry", VECTORS["messages"], ids=lambda entry: entry["name"])
def test_ok__message_as_in_the_vector(entry: dict[str, str]) -> None:
    message = MESSAGES[entry["name"]]
    assert encode_message(message).hex() == entry["payload"]
    assert parse_message(bytes.fromhex(entry["payload"])) == message


def test_ok__later_versions_may_add_bytes() -> None:
    assert parse_message(encode_message(Ping(b"8" * 8)) + b"more") == Ping(b"8" * 8)
    assert parse_message(encode_message(Rejected(17, ord("?"), 1, 2)) + b"\x02more").maybe_broken is False


def test_ok__padding_behind_the_packet_is_not_read() -> None:
    for source, destination in (("1.2.3.4", "4.3.2.1"), ("fd7a::1", "fd7a::2")):
        wanted = Packet(ip_address(source), ip_address(destination), Ping(b"8" * 8))
        assert parse_packet(encode_packet(wanted) + bytes(16)) == wanted


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", DecodeReason.TOO_SHORT),
        (b"\x45" + bytes(10), DecodeReason.TOO_SHORT),
        (b"\x60" + bytes(20), DecodeReason.TOO_SHORT),
        (b"\x10" + bytes(60), DecodeReason.BAD_VERSION),
    ],
)
def test_fail__no_packet(data: bytes, reason: DecodeReason) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_packet(data)
    assert caught.value.reason is reason


def test_fail__other_protocol_fragment_and_lying_length() -> None:
    good = bytearray(encode_packet(Packet(ip_address("1.2.3.4"), ip_address("4.3.2.1"), Ping(b"8" * 8))))
    for offset, value, reason in (
        (9, 6, DecodeReason.UNEXPECTED),
        (6, 0x20, DecodeReason.UNEXPECTED),
        (3, 200, DecodeReason.BAD_LENGTH),
        (0, 0x4F, DecodeReason.BAD_LENGTH),
        (20, 0x7A, DecodeReason.BAD_TYPE),
    ):
        bad = bytearray(good)
        bad[offset] = value
        with pytest.raises(DecodeError) as caught:
            parse_packet(bytes(bad))
        assert caught.value.reason is reason
    assert good[9] == PROTOCOL


def test_fail__zero_disco_key_says_nothing() -> None:
    with pytest.raises(DecodeError) as caught:
        parse_message(b"a" + bytes(32))
    assert caught.value.reason is DecodeReason.BAD_KEY


def test_fail__what_cannot_be_sent() -> None:
    with pytest.raises(ValueError, match="8 bytes"):
        encode_message(Ping(b"short"))
    with pytest.raises(ValueError, match="versions"):
        encode_packet(Packet(ip_address("1.2.3.4"), ip_address("fd7a::1"), Ping(b"8" * 8)))
